import json
from collections.abc import Callable
from pathlib import Path

import pytest

from medssl.data.layouts.decathlon import cases
from medssl.errors import DataError
from tests.data.conftest import declare

Touch = Callable[[str], Path]


def write_json(root: Path, **keys: object) -> None:
    (root / "dataset.json").write_text(json.dumps(keys))


def test_cases_come_in_the_order_of_the_listing(tmp_path: Path) -> None:
    entries = [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in "ba"]
    write_json(tmp_path, training=entries)
    found = cases(declare(tmp_path), tmp_path)
    assert [case.id for case in found] == ["b", "a"]
    assert found[0].images == {"t1": tmp_path / "imagesTr/b.nii.gz"}
    assert found[0].label == tmp_path / "labelsTr/b.nii.gz"


def test_an_entry_without_label_is_unlabelled(tmp_path: Path) -> None:
    write_json(tmp_path, training=["./imagesTr/a.nii.gz", {"image": "./imagesTr/b.nii.gz"}])
    assert [case.label for case in cases(declare(tmp_path), tmp_path)] == [None, None]


def test_test_images_are_used_only_with_labels(tmp_path: Path) -> None:
    labelled = {"image": "./imagesTs/x.nii.gz", "label": "./labelsTs/x.nii.gz"}
    write_json(tmp_path, training=[], test=["./imagesTs/y.nii.gz", labelled])
    found = cases(declare(tmp_path), tmp_path)
    assert [(case.id, case.part) for case in found] == [("x", "test")]


def test_channels_share_one_file(tmp_path: Path) -> None:
    write_json(tmp_path, training=["./imagesTr/a.nii.gz"])
    (case,) = cases(declare(tmp_path, channels=["t1", "t2"]), tmp_path)
    assert list(case.images) == ["t1", "t2"]
    assert len(set(case.images.values())) == 1


def test_without_a_listing_files_are_paired_by_name(tmp_path: Path, touch: Touch) -> None:
    for name in ("imagesTr/b.nii.gz", "imagesTr/a.nrrd", "labelsTr/a.nii.gz", "labelsTr/c.nii.gz"):
        touch(name)
    a, b, c = cases(declare(tmp_path), tmp_path)
    assert (a.id, a.images["t1"].name, a.label) == ("a", "a.nrrd", tmp_path / "labelsTr/a.nii.gz")
    assert (b.id, b.label) == ("b", None)
    assert (c.id, c.images) == ("c", {})


def test_hidden_copies_of_other_systems_are_passed_over(tmp_path: Path, touch: Touch) -> None:
    touch("imagesTr/a.nii.gz")
    touch("imagesTr/._a.nii.gz")
    assert [case.id for case in cases(declare(tmp_path), tmp_path)] == ["a"]


@pytest.mark.parametrize("text", ["{", "[]", '{"training": [{"label": "x"}]}'])
def test_a_wrong_listing_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=r"dataset\.json"):
        cases(declare(tmp_path), tmp_path)


def test_the_real_set_is_found_whole(shared_data: Path) -> None:
    root = shared_data / "hippocampus"
    found = cases(declare(root), root)
    assert len(found) == 200
    assert found[0].id == "hippocampus_001"
    assert len({case.patient for case in found}) == 200
    assert all(case.label and case.label.exists() for case in found)


def test_an_old_folder_of_nnunet_is_told_from_a_decathlon(tmp_path: Path, touch: Touch) -> None:
    touch("imagesTr/a_0000.nii.gz")
    write_json(tmp_path, training=[{"image": "./imagesTr/a.nii.gz"}])
    with pytest.raises(DataError, match=r"write `layout: \{kind: nnunet\}`"):
        cases(declare(tmp_path), tmp_path)


def test_names_that_end_in_four_digits_make_no_nnunet(tmp_path: Path, touch: Touch) -> None:
    touch("imagesTr/a_0000.nii.gz")
    write_json(tmp_path, training=[{"image": "./imagesTr/a_0000.nii.gz"}])
    assert [case.id for case in cases(declare(tmp_path), tmp_path)] == ["a_0000"]


def test_a_key_that_stands_twice_is_no_choice(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text('{"training": [], "training": ["a.nii"]}')
    with pytest.raises(DataError, match="'training' stands twice"):
        cases(declare(tmp_path), tmp_path)
