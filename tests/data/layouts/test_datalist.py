import json
from pathlib import Path

import pytest

from medssl.data.layouts.datalist import cases
from medssl.data.spec import Case
from medssl.errors import DataError
from tests.data.conftest import declare


def listed(root: Path, channels: tuple[str, ...] = ("t1",), **sections: object) -> list[Case]:
    (root / "datalist.json").write_text(json.dumps(sections))
    return cases(declare(root, channels=channels), root)


def test_sections_become_parts_and_validation_trains(tmp_path: Path) -> None:
    found = listed(
        tmp_path,
        training=[{"image": "a.nii.gz", "label": "a_seg.nii.gz", "fold": 1}],
        validation=[{"image": "b.nii.gz", "label": "b_seg.nii.gz"}],
        testing=[{"image": "c.nii.gz", "label": "c_seg.nii.gz"}, {"image": "d.nii.gz"}],
    )
    assert [(case.id, case.part) for case in found] == [("a", None), ("b", None), ("c", "test")]


def test_a_list_of_images_is_the_channels(tmp_path: Path) -> None:
    (case,) = listed(tmp_path, ("t1", "t2"), training=[{"image": ["a_t1.nii", "a_t2.nii"]}])
    assert case.images == {"t1": tmp_path / "a_t1.nii", "t2": tmp_path / "a_t2.nii"}


def test_equal_file_names_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    found = listed(
        tmp_path, training=[{"image": "./p1/image.nii.gz"}, {"image": "p2/image.nii.gz"}]
    )
    assert [case.id for case in found] == ["p1_image", "p2_image"]


def test_an_entry_may_name_itself_and_its_patient(tmp_path: Path) -> None:
    (case,) = listed(tmp_path, training=[{"image": "a.nii", "id": "one", "patient": 7}])
    assert (case.id, case.patient) == ("one", "7")


@pytest.mark.parametrize("entry", [{"label": "x.nii"}, {"image": ["a.nii", "b.nii", "c.nii"]}])
def test_a_wrong_entry_is_named(tmp_path: Path, entry: object) -> None:
    with pytest.raises(DataError, match=r"datalist\.json"):
        listed(tmp_path, ("t1", "t2"), training=[entry])
