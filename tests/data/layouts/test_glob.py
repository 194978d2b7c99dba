from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medssl.data.layouts.glob import listed
from medssl.data.spec import Case
from medssl.errors import DataError, UsageError
from tests.data.conftest import declare

Touch = Callable[[str], Path]


def matched(
    root: Path, images: dict[str, str], label: str | None = None, **keys: Any
) -> list[Case]:
    layout = {"kind": "glob", "images": images, "label": label}
    found, faults = listed(declare(root, layout=layout, channels=list(images), **keys), root)
    assert faults == []
    return found


def test_files_with_one_name_make_a_case(tmp_path: Path, touch: Touch) -> None:
    for name in ("s2/t1.nii", "s2/t2.nii", "s2/seg.nii", "s1/t1.nii"):
        touch(name)
    one, two = matched(tmp_path, {"t1": "{case}/t1.nii", "t2": "{case}/t2.nii"}, "{case}/seg.nii")
    assert (one.id, list(one.images), one.label) == ("s1", ["t1"], None)
    assert (two.id, list(two.images), two.label) == ("s2", ["t1", "t2"], tmp_path / "s2/seg.nii")


def test_the_name_may_stand_twice_and_stars_match_the_rest(tmp_path: Path, touch: Touch) -> None:
    for name in ("sub-1/anat/sub-1_run-3_T1w.nii.gz", "sub-2/anat/sub-9_run-1_T1w.nii.gz"):
        touch(name)
    (case,) = matched(tmp_path, {"t1": "{case}/anat/{case}_*_T1w.nii.gz"})
    assert case.id == "sub-1"


def test_a_mask_beside_its_image_is_no_image(tmp_path: Path, touch: Touch) -> None:
    touch("a.nii.gz")
    touch("a_seg.nii.gz")
    (case,) = matched(tmp_path, {"t1": "{case}.nii.gz"}, "{case}_seg.nii.gz")
    assert (case.id, case.label) == ("a", tmp_path / "a_seg.nii.gz")


def test_a_masked_case_of_the_test_part_is_kept_for_scores(tmp_path: Path, touch: Touch) -> None:
    for name in ("train/1.nii", "test/1.nii", "test/1_seg.nii", "test/2.nii"):
        touch(name)
    found = matched(tmp_path, {"t1": "{part}/{case}.nii"}, "{part}/{case}_seg.nii")
    assert [(one.id, one.patient, one.part) for one in found] == [
        ("test_1", "test_1", "test"),
        ("test_2", "test_2", None),
        ("train_1", "train_1", None),
    ]


def test_a_patient_in_two_parts_is_one_patient(tmp_path: Path, touch: Touch) -> None:
    for name in ("train/a-1.nii", "test/a-2.nii"):
        touch(name)
    found = matched(tmp_path, {"t1": "{part}/{case}.nii"}, patient=r"^(.+)-\d$")
    assert [one.patient for one in found] == ["a", "a"]


def test_a_label_without_image_is_shown_to_the_check(tmp_path: Path, touch: Touch) -> None:
    touch("a_seg.nii.gz")
    (case,) = matched(tmp_path, {"t1": "{case}.nii.gz"}, "{case}_seg.nii.gz")
    assert case.images == {}


def test_two_files_for_one_case_are_refused(tmp_path: Path, touch: Touch) -> None:
    touch("x/1/t1.nii")
    touch("x/2/t1.nii")
    with pytest.raises(DataError, match="both fit"):
        matched(tmp_path, {"t1": "{case}/*/t1.nii"})


def test_a_pattern_needs_the_case(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"lacks \{case\}"):
        matched(tmp_path, {"t1": "t1.nii"})


def test_sessions_of_a_real_patient_stay_together(shared_data: Path) -> None:
    images = {name: f"{{case}}/{name}.nii.gz" for name in ("t1", "t2", "flair")}
    found = matched(shared_data / "ms_lesions", images, patient=r"(patient\d+)")
    assert len(found) == 9
    assert len({case.patient for case in found}) == 7


def test_hidden_folders_hold_no_case(tmp_path: Path, touch: Touch) -> None:
    touch("a/t1.nii")
    touch(".trash/t1.nii")
    touch("a/._t1.nii")
    layout = {"kind": "glob", "images": {"t1": "{case}/t1.nii"}}
    assert [case.id for case in listed(declare(tmp_path, layout=layout), tmp_path)[0]] == ["a"]


@pytest.mark.parametrize("pattern", ["**/{case}.nii", "/{case}.nii"])
def test_a_pattern_that_cannot_be_searched_for_is_refused(tmp_path: Path, pattern: str) -> None:
    layout = {"kind": "glob", "images": {"t1": pattern}}
    with pytest.raises(UsageError, match="cannot be used"):
        listed(declare(tmp_path, layout=layout), tmp_path)
