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


def test_a_label_may_be_a_list_of_one_path(tmp_path: Path) -> None:
    (case,) = listed(tmp_path, training=[{"image": "a.nii", "label": ["b.nii"]}])
    assert case.label == tmp_path / "b.nii"


@pytest.mark.parametrize(
    ("label", "why"),
    [
        (1, "a number is a class of the whole image"),
        (0.5, "a number is a class of the whole image"),
        ({"liver": "l.nii"}, "only one mask file can be read"),
        (["a.nii", "b.nii"], "only one mask file can be read"),
        ([1], "a number is a class of the whole image"),
    ],
)
@pytest.mark.parametrize("section", ["training", "validation", "test"])
def test_a_label_that_is_no_mask_is_refused_with_its_place(
    tmp_path: Path, section: str, label: object, why: str
) -> None:
    entries = [{"image": "a.nii", "label": "b.nii"}, {"image": "c.nii", "label": label}]
    with pytest.raises(DataError, match=rf"entry 2 of `{section}` of .*datalist\.json.*{why}"):
        listed(tmp_path, **{section: entries})


@pytest.mark.parametrize("label", [None, "", []])
def test_nothing_is_no_label(tmp_path: Path, label: object) -> None:
    (case,) = listed(tmp_path, training=[{"image": "a.nii", "label": label}])
    assert case.label is None
