"""What scans are like: box, axes, intensities inside masks; kept by content."""

from math import pi
from pathlib import Path

import numpy as np
import pytest

from medssl.data.geometry import Geometry
from medssl.data.layouts import find_cases
from medssl.data.plan.budget import PLAIN
from medssl.data.plan.fingerprint import SAMPLES, Fingerprint, fingerprint_of, look_at
from medssl.data.plan.plan import plan_sizes
from medssl.data.plan.request import Fixed
from medssl.data.spec import Case, DataSpec, load_spec, make_spec
from medssl.data.volume import write_mask, write_volume
from medssl.errors import DataError

SPEC = {
    "name": "few",
    "title": "Few",
    "modality": "CT",
    "channels": ["ct"],
    "labels": [{"value": 1, "name": "ball"}],
    "root": "few",
    "layout": {"kind": "glob", "images": {"ct": "{case}.nii.gz"}, "label": "{case}_seg.nii.gz"},
    "licence": "CC0",
    "citation": "none",
}


def case(
    folder: Path, name: str = "a", masked: bool = True, affine: np.ndarray | None = None
) -> Case:
    """A body of 6 x 8 x 10 voxels of 40 HU in air, of which 2 x 2 x 2 of 100 HU are marked."""
    image = np.full((10, 12, 14), -1000, np.float32)
    image[2:8, 2:10, 2:12] = 40
    image[4:6, 4:6, 4:6] = 100
    mask = (image == 100).astype(np.uint8)
    grid = Geometry(image.shape, np.diag([1.0, 2.0, 3.0, 1.0]) if affine is None else affine)
    write_volume(image, grid, folder / f"{name}.nii.gz")
    write_mask(mask, grid, folder / f"{name}_seg.nii.gz")
    label = folder / f"{name}_seg.nii.gz" if masked else None
    return Case(name, name, {"ct": folder / f"{name}.nii.gz"}, label)


@pytest.fixture
def spec() -> DataSpec:
    return make_spec(SPEC, "a test")


def test_box_body_and_inside_by_hand(tmp_path: Path, spec: DataSpec) -> None:
    found = look_at(case(tmp_path), spec, "RAS")
    assert found.shape == (10, 12, 14)
    assert found.box == (6, 8, 10)
    assert found.kept == pytest.approx(480 / 1680)
    assert found.spacing == (1, 2, 3)
    assert found.body == pytest.approx((40, 100), abs=1)  # air is no body
    assert found.inside.shape == (SAMPLES,)
    assert set(found.inside.tolist()) == {100.0}
    assert found.parts == {1: pytest.approx((6 * 8 * 6 / pi) ** (1 / 3))}  # 8 voxels of 6 mm3


def test_axes_are_those_of_the_orientation(tmp_path: Path, spec: DataSpec) -> None:
    turned = np.array([[0, 0, 3.0, 0], [1.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 0, 1]])
    one = case(tmp_path, affine=turned)
    found = look_at(one, spec, "RAS")
    assert (found.shape, found.box, found.spacing) == ((14, 10, 12), (10, 6, 8), (3, 1, 2))
    assert look_at(one, spec, None).shape == (10, 12, 14)


def test_without_a_mask_nothing_is_inside(tmp_path: Path, spec: DataSpec) -> None:
    found = look_at(case(tmp_path, masked=False), spec, "RAS")
    assert not found.labelled
    assert Fingerprint((found,)).inside() is None
    assert Fingerprint((found,)).finest is None


def test_the_fingerprint_of_two_sets_is_the_sum_of_both(tmp_path: Path, spec: DataSpec) -> None:
    one, two = (look_at(case(tmp_path, name), spec, "RAS") for name in "ab")
    both = Fingerprint((one,)) + Fingerprint((two,))
    assert both.cases == (one, two)
    inside = both.inside()
    assert inside is not None
    assert inside.size == 2 * SAMPLES  # each counts alike


def test_what_was_found_is_kept_and_damage_is_looked_at_again(
    tmp_path: Path, spec: DataSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [case(tmp_path, name) for name in "ab"]
    kept = tmp_path / "kept"
    first = fingerprint_of(cases, spec, "RAS", kept, lambda one: one.id)
    (kept / "a-RAS-2.npz").write_bytes(b"damaged")
    again = fingerprint_of(cases, spec, "RAS", kept, lambda one: one.id)
    for one, two in zip(first.cases, again.cases, strict=True):
        assert (one.shape, one.box, one.spacing, one.body) == (
            two.shape, two.box, two.spacing, two.body
        )  # fmt: skip
        np.testing.assert_array_equal(one.inside, two.inside)
        assert one.parts == two.parts

    def unread(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("medssl.data.plan.fingerprint.look_at", unread)
    fingerprint_of(cases, spec, "RAS", kept, lambda one: one.id)


def test_a_case_without_a_channel_is_named(tmp_path: Path, spec: DataSpec) -> None:
    lacking = Case("a", "a", {"other": tmp_path / "a.nii.gz"})
    with pytest.raises(DataError, match="case a has no file for the channel ct"):
        fingerprint_of([lacking], spec, "RAS", tmp_path, lambda one: one.id)


def test_two_hundred_real_hippocampi_give_the_plan_of_nnunet(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSSL_DATA", str(shared_data))
    spec = load_spec("hippocampus")
    cases = find_cases(spec)
    found = fingerprint_of(cases, spec, "RAS", tmp_path, lambda one: one.id)
    plan = plan_sizes(found, 3, False, PLAIN, Fixed())
    assert len(cases) == 200
    assert plan.spacing == (1, 1, 1)
    assert sorted(plan.network.patch) == [40, 40, 56]
    assert plan.network.batch == 7
