"""Simulated patients: what they are made of, and that a seed decides everything."""

from pathlib import Path

import numpy as np
import pytest

from medssl.data import brain_cohort
from medssl.data.brain_cohort import Scan, Template, load_template, simulate
from medssl.data.layouts import find_cases
from medssl.data.spec import DataSpec, load_spec
from medssl.data.volume import read_mask, read_volume
from medssl.errors import UsageError

SPACING = 8.0


@pytest.fixture(scope="module")
def template() -> Template:
    return load_template(SPACING)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path))
    return tmp_path


def made(template: Template, seed: int, lesions: float = 0) -> Scan:
    generator = np.random.default_rng(seed)
    return simulate(template, ("t1", "t2", "flair"), SPACING, lesions, generator)


def small(**keys: object) -> DataSpec:
    layout = {"kind": "brain_cohort", "patients": 2, "spacing": SPACING}
    plain = load_spec("brain_cohort").model_dump()
    return DataSpec.model_validate({**plain, "layout": layout, **keys})


def test_shares_of_tissue_sum_to_at_most_one(template: Template) -> None:
    assert template.maps.min() >= 0
    assert template.maps.sum(0).max() <= 1.05
    assert template.geometry.spacing == (4.0, 4.0, 4.0)


def test_equal_seeds_give_equal_patients(template: Template) -> None:
    one, again, other = made(template, 0), made(template, 0), made(template, 1)
    assert all(np.array_equal(one.images[name], again.images[name]) for name in one.images)
    assert np.array_equal(one.mask, again.mask)
    assert not np.array_equal(one.mask, other.mask)


def test_a_brain_is_about_as_large_as_a_brain(template: Template) -> None:
    litres = [np.count_nonzero(made(template, seed).mask) * SPACING**3 / 1e6 for seed in range(4)]
    assert all(1.0 < volume < 2.4 for volume in litres)


def test_contrasts_are_ordered_as_in_their_sequence(template: Template) -> None:
    scan = made(template, 2)
    grey, white = (
        {name: np.median(array[scan.mask == value]) for name, array in scan.images.items()}
        for value in (1, 2)
    )
    assert white["t1"] > grey["t1"]
    assert white["t2"] < grey["t2"]


def test_lesions_are_drawn_on_request(template: Template) -> None:
    assert brain_cohort.LESION not in made(template, 3).mask
    assert brain_cohort.LESION in made(template, 3, lesions=20).mask


def test_deformations_never_fold(template: Template) -> None:
    grid = template.geometry.resampled((SPACING,) * 3)
    for seed in range(3):
        places = brain_cohort._deformed(grid, template.geometry, np.random.default_rng(seed))
        jacobian = np.stack(np.gradient(places, axis=(1, 2, 3)))
        assert np.linalg.det(np.moveaxis(jacobian, (0, 1), (-2, -1))).min() > 0


def test_the_cohort_is_made_once_and_entirely(cache: Path) -> None:
    spec = small()
    first = find_cases(spec)
    times = [path.stat().st_mtime_ns for case in first for path in case.images.values()]
    again = find_cases(spec)
    assert first == again
    assert times == [path.stat().st_mtime_ns for case in again for path in case.images.values()]
    assert not list(cache.rglob(".part-*"))
    assert spec.simulated


def test_a_larger_cohort_begins_with_the_smaller() -> None:
    two = find_cases(small())
    one = find_cases(small(layout={"kind": "brain_cohort", "patients": 1, "spacing": SPACING}))
    assert one[0].images != two[0].images
    first, again = (read_volume(case.images["t1"]) for case in (one[0], two[0]))
    assert np.array_equal(first.array, again.array)
    assert first.geometry.spacing == (SPACING,) * 3


def test_masks_hold_only_what_the_spec_declares() -> None:
    spec = small(labels=[{"value": 2, "name": "white matter"}])
    case = find_cases(spec)[0]
    assert case.label is not None
    assert set(np.unique(read_mask(case.label).array)) == {0, 2}


def test_a_channel_without_contrast_is_refused() -> None:
    with pytest.raises(UsageError, match="'pd' cannot be simulated"):
        find_cases(small(channels=["pd"]))
