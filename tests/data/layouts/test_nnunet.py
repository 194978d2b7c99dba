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


def test_a_missing_channel_is_absent(tmp_path: Path, touch: Touch) -> None:
    touch("imagesTr/a_0001.nii.gz")
    (case,) = cases(declare(tmp_path, channels=["t1", "t2"]), tmp_path)
    assert list(case.images) == ["t2"]


def test_test_cases_are_used_where_they_have_labels(tmp_path: Path, touch: Touch) -> None:
    for name in ("imagesTs/x_0000.nii.gz", "imagesTs/y_0000.nii.gz", "labelsTs/y.nii.gz"):
        touch(name)
    assert [(case.id, case.part) for case in cases(declare(tmp_path), tmp_path)] == [("y", "test")]
