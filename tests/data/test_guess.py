import json
from collections.abc import Callable
from pathlib import Path

import pytest

from medssl.data.guess import guess_spec
from medssl.errors import DataError

Touch = Callable[[str], Path]


def write_json(root: Path, **keys: object) -> None:
    (root / "dataset.json").write_text(json.dumps(keys))


def test_a_decathlon_listing_names_channels_and_labels(tmp_path: Path) -> None:
    labels = {"0": "background", "2": "tail", "1": "head"}
    write_json(tmp_path, training=[], modality={"1": "T2", "0": "T1"}, labels=labels)
    spec = guess_spec(tmp_path)
    assert (spec.layout.kind, spec.modality) == ("decathlon", "MR")
    assert spec.channels == ("T1", "T2")
    assert spec.classes == ("background", "head", "tail")


def test_an_nnunet_listing_names_channels_and_labels(tmp_path: Path) -> None:
    labels = {"background": 0, "whole": [1, 2], "core": 2}
    write_json(tmp_path, channel_names={"0": "CT"}, labels=labels)
    spec = guess_spec(tmp_path)
    assert (spec.layout.kind, spec.modality, spec.channels) == ("nnunet", "CT", ("CT",))
    assert [(label.value, label.name) for label in spec.labels] == [(2, "core")]


def test_numbered_names_are_channels(tmp_path: Path, touch: Touch) -> None:
    for name in ("a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz"):
        touch(f"imagesTr/{name}")
    spec = guess_spec(tmp_path)
    assert (spec.layout.kind, len(spec.channels)) == ("nnunet", 2)


@pytest.mark.parametrize("images", ["imagesTr", "images"])
def test_other_names_are_paired(tmp_path: Path, touch: Touch, images: str) -> None:
    touch(f"{images}/hippocampus_118.nii.gz")
    spec = guess_spec(tmp_path)
    assert spec.layout.kind == "decathlon"
    assert spec.layout.model_extra == {
        "images": images,
        "labels": images.replace("images", "labels"),
    }


def test_equal_channels_are_numbered(tmp_path: Path) -> None:
    write_json(tmp_path, training=[], modality={"0": "MRI", "1": "MRI"})
    assert guess_spec(tmp_path).channels == ("MRI_0", "MRI_1")


def test_what_cannot_be_guessed_is_said(tmp_path: Path, touch: Touch) -> None:
    touch("scans/a.nii.gz")
    with pytest.raises(DataError, match="write a data spec"):
        guess_spec(tmp_path)
    with pytest.raises(DataError, match="there is no folder"):
        guess_spec(tmp_path / "absent")
