from collections.abc import Callable
from pathlib import Path

from medssl.data.layouts.nnunet import cases
from tests.data.conftest import declare

Touch = Callable[[str], Path]


def test_channels_follow_the_numbers_in_the_names(tmp_path: Path, touch: Touch) -> None:
    for name in ("imagesTr/b_1_0001.nii.gz", "imagesTr/b_1_0000.nii.gz", "labelsTr/b_1.nii.gz"):
        touch(name)
    (case,) = cases(declare(tmp_path, channels=["t1", "t2"]), tmp_path)
    assert case.id == "b_1"
    assert [path.name for path in case.images.values()] == ["b_1_0000.nii.gz", "b_1_0001.nii.gz"]
    assert case.label == tmp_path / "labelsTr/b_1.nii.gz"


def test_a_picture_in_colour_has_all_channels(tmp_path: Path, touch: Touch) -> None:
    for name in ("imagesTr/a_0000.png", "labelsTr/a.png"):
        touch(name)
    (case,) = cases(declare(tmp_path, channels=["r", "g", "b"]), tmp_path)
    assert [path.name for path in case.images.values()] == ["a_0000.png"] * 3
    assert case.label == tmp_path / "labelsTr/a.png"


def test_grey_pictures_are_channels_by_their_numbers(tmp_path: Path, touch: Touch) -> None:
    for name in ("imagesTr/a_0000.tif", "imagesTr/a_0001.tif"):
        touch(name)
    (case,) = cases(declare(tmp_path, channels=["x", "y"]), tmp_path)
    assert [path.name for path in case.images.values()] == ["a_0000.tif", "a_0001.tif"]


def test_a_missing_channel_is_absent(tmp_path: Path, touch: Touch) -> None:
    touch("imagesTr/a_0001.nii.gz")
    (case,) = cases(declare(tmp_path, channels=["t1", "t2"]), tmp_path)
    assert list(case.images) == ["t2"]


def test_test_cases_are_used_where_they_have_labels(tmp_path: Path, touch: Touch) -> None:
    for name in ("imagesTs/x_0000.nii.gz", "imagesTs/y_0000.nii.gz", "labelsTs/y.nii.gz"):
        touch(name)
    assert [(case.id, case.part) for case in cases(declare(tmp_path), tmp_path)] == [("y", "test")]
