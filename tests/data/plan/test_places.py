"""Whether structures keep to their place in the scans; numbers by hand."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from medssl.data.plan.fingerprint import Fingerprint, look_at
from medssl.data.plan.places import CELLS, SETTLED, overlap, places_of
from medssl.data.spec import Case, DataSpec


def place(shape: tuple[int, int, int], *corners: tuple[int, int, int]) -> np.ndarray:
    """Where a label of single voxels lies, beside others."""
    mask = np.zeros(shape, np.int16)
    mask[-1, 0, 0] = 9
    for corner in corners:
        mask[corner] = 7
    return places_of(mask, [7])[7]


def test_a_place_is_the_share_in_each_twelfth_of_the_scan() -> None:
    found = place((24, 36, 1), (0, 0, 0), (1, 2, 0), (23, 35, 0), (2, 3, 0))
    assert found.sum() == pytest.approx(1)
    assert found[0, 0, 0] == pytest.approx(0.5)
    assert found[1, 1, 0] == found[11, 11, 0] == pytest.approx(0.25)
    assert found.shape == (CELLS,) * 3


def test_scans_with_fewer_voxels_than_cells_have_places_too() -> None:
    assert place((5, 5, 5), (4, 0, 2))[9, 0, 4] == 1


def of_patients(*places: dict[int, np.ndarray]) -> float | None:
    """The overlap of cases, each of a patient of its own."""
    return overlap([(f"p{number}", one) for number, one in enumerate(places)])


HERE = place((12, 12, 12), (0, 0, 0), (1, 0, 0))
HALF = place((12, 12, 12), (1, 0, 0), (2, 0, 0))
AWAY = place((12, 12, 12), (11, 11, 11))


def test_the_overlap_is_the_mean_over_pairs_of_the_label_with_least() -> None:
    assert of_patients(*[{1: HERE}] * 4) == 1
    assert of_patients(*[{1: HERE}] * 3, {1: HALF}) == pytest.approx((3 + 3 * 0.5) / 6)
    assert of_patients(*[{1: HERE}] * 3, {1: AWAY}) == pytest.approx(3 / 6)
    assert of_patients(*[{1: HERE, 2: HERE}] * 3, {1: HERE, 2: AWAY}) == pytest.approx(3 / 6)
    assert of_patients(*[{1: HERE, 2: AWAY}] * 3, {1: HERE, 2: HERE}) == pytest.approx(3 / 6)
    assert of_patients(*[{1: HERE, 2: AWAY}] * 3, {1: HERE}) == 1  # the other is in three alone


def test_of_fewer_than_four_patients_nothing_is_known() -> None:
    assert of_patients(*[{1: HERE}] * 3) is None
    assert of_patients({1: HERE}, {1: HERE}, {2: HERE}, {2: HERE}, {}) is None
    assert of_patients() is None
    assert overlap([(patient, {1: HERE}) for patient in "aaabbbccc"]) is None


def test_scans_of_one_patient_are_not_compared() -> None:
    cases = [("a", {1: AWAY}), ("a", {1: AWAY}), *[(one, {1: HERE}) for one in "bcd"]]
    assert overlap(cases) == pytest.approx(3 / 9)


def test_places_are_along_the_axes_that_patches_have(tmp_path) -> None:
    """One scan lies as RAS, the other as LPS: the structure is at the same place of the body."""
    spec = DataSpec.model_validate(
        {"name": "x", "title": "x", "modality": "MR", "channels": ["t1"], "root": "x",
         "labels": [{"value": 3, "name": "ball"}], "layout": {"kind": "msd"}, "licence": "x",
         "citation": "x"}
    )  # fmt: skip
    facts = []
    for name, sign in (("ras", 1), ("lps", -1)):
        affine = np.diag([float(sign), float(sign), 1.0, 1.0])
        mask = np.zeros((24, 24, 24), np.uint8)
        mask[:4, :4, :4] = 3
        if sign < 0:
            mask = mask[::-1, ::-1].copy()
        files = [tmp_path / f"{name}{end}.nii.gz" for end in ("", "_seg")]
        for path, values in zip(files, (np.ones((24, 24, 24)), mask), strict=True):
            nib.save(nib.Nifti1Image(values.astype(np.float32), affine), path)
        case = Case(name, name, {"t1": files[0]}, files[1])
        facts.append(look_at(case, spec, "RAS"))
    cases = [replace(facts[number % 2], patient=str(number)) for number in range(4)]
    assert Fingerprint(tuple(cases)).settled == pytest.approx(1)
    assert Fingerprint((*cases[:3], replace(cases[3], places={}))).settled is None


def test_the_threshold_lies_between_organs_and_lesions() -> None:
    """Of 24 cases each: hippocampus 0.61, left atrium 0.52, gliomas 0.08, simulated livers 0.03."""
    assert 0.08 < SETTLED < 0.5
