import json
from collections.abc import Callable
from pathlib import Path

import pytest

from medssl.data.guess import guess_spec
from medssl.data.layouts import find_cases
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
    labels = {"background": 0, "liver": 1, "tumour": 2}
    write_json(tmp_path, channel_names={"0": "CT"}, labels=labels)
    spec = guess_spec(tmp_path)
    assert (spec.layout.kind, spec.modality, spec.channels) == ("nnunet", "CT", ("CT",))
    assert [(label.value, label.name) for label in spec.labels] == [(1, "liver"), (2, "tumour")]
    assert spec.regions == {}


def test_numbered_names_are_channels(tmp_path: Path, touch: Touch) -> None:
    for name in ("a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz"):
        touch(f"imagesTr/{name}")
    spec = guess_spec(tmp_path)
    assert (spec.layout.kind, len(spec.channels)) == ("nnunet", 2)


def test_other_names_are_paired(tmp_path: Path, touch: Touch) -> None:
    touch("imagesTr/hippocampus_118.nii.gz")
    assert guess_spec(tmp_path).layout.kind == "decathlon"


def test_any_other_folder_is_read_by_its_names(tmp_path: Path, touch: Touch) -> None:
    for name in ("images/a.nii.gz", "images/b.nii.gz", "masks/a_seg.nii.gz"):
        touch(name)
    spec = guess_spec(tmp_path)
    assert (spec.layout.kind, spec.channels) == ("glob", ("image",))
    assert [(one.id, one.label is not None) for one in find_cases(spec)] == [
        ("a", True),
        ("b", False),
    ]


def test_equal_channels_are_numbered(tmp_path: Path) -> None:
    write_json(tmp_path, training=[], modality={"0": "MRI", "1": "MRI"})
    assert guess_spec(tmp_path).channels == ("MRI_0", "MRI_1")


def test_what_cannot_be_guessed_is_said(tmp_path: Path, touch: Touch) -> None:
    touch("scans/notes.txt")
    with pytest.raises(DataError, match="holds no image that can be read"):
        guess_spec(tmp_path)
    with pytest.raises(DataError, match="there is no folder"):
        guess_spec(tmp_path / "absent")


def test_an_old_folder_of_nnunet_is_known_by_its_files(tmp_path: Path, touch: Touch) -> None:
    """Its dataset.json lists images without the number of the channel."""
    for name in ("liver_000", "liver_001", "liver_002"):
        touch(f"imagesTr/{name}_0000.nii.gz")
        touch(f"imagesTr/{name}_0001.nii.gz")
        touch(f"labelsTr/{name}.nii.gz")
    entries = [
        {"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"}
        for name in ("liver_000", "liver_001", "liver_002")
    ]
    write_json(tmp_path, modality={"0": "T1", "1": "T2"}, training=entries, test=["./x.nii.gz"])
    spec = guess_spec(tmp_path)
    assert (spec.layout.kind, spec.channels) == ("nnunet", ("T1", "T2"))
    found = find_cases(spec)
    assert [len(case.images) for case in found] == [2, 2, 2]
    assert all(case.label for case in found)


def test_a_decathlon_whose_names_end_in_digits_stays_one(tmp_path: Path, touch: Touch) -> None:
    touch("imagesTr/a_0001.nii.gz")
    write_json(tmp_path, modality={"0": "T1"}, training=[{"image": "./imagesTr/a_0001.nii.gz"}])
    assert guess_spec(tmp_path).layout.kind == "decathlon"


def test_regions_declare_each_of_their_values(tmp_path: Path) -> None:
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enh": 3}
    write_json(tmp_path, channel_names={"0": "T1"}, labels=labels)
    spec = guess_spec(tmp_path)
    assert spec.label_values == (0, 1, 2, 3)
    assert spec.classes == ("background", "value_1", "value_2", "enh")
    assert spec.regions == {"whole": (1, 2, 3), "core": (2, 3), "enh": (3,)}
    assert [region.written for region in spec.united] == [1, 2, 3]


def test_regions_are_written_in_the_order_that_the_listing_gives(tmp_path: Path) -> None:
    """BraTS as nnU-Net numbers it: 1 oedema, 2 necrosis, 3 enhancing."""
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}
    write_json(tmp_path, channel_names={"0": "T1"}, labels=labels, regions_class_order=[1, 2, 3])
    spec = guess_spec(tmp_path)
    assert spec.regions_class_order == (1, 2, 3)
    assert [region.written for region in spec.united] == [1, 2, 3]


def test_an_order_that_is_no_list_is_named(tmp_path: Path) -> None:
    labels = {"background": 0, "whole": [1, 2], "core": 2}
    write_json(tmp_path, channel_names={"0": "T1"}, labels=labels, regions_class_order="1 2")
    with pytest.raises(DataError, match="`regions_class_order` of "):
        guess_spec(tmp_path)


def test_names_from_a_listing_are_made_fit(tmp_path: Path) -> None:
    labels = {"background": 0, "grey/white": 1}
    write_json(tmp_path, channel_names={"0": "T1/T2"}, labels=labels)
    spec = guess_spec(tmp_path)
    assert (spec.channels, spec.classes[1]) == (("T1_T2",), "grey_white")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"modality": ["T1"]}, "`modality` of .*is \\['T1'\\]"),
        ({"modality": {"first": "T1"}}, "`modality` of "),
        ({"labels": ["a"]}, "`labels` of "),
        ({"labels": {"liver": None}}, "`labels` of .*'liver': None"),
        ({"labels": {"liver": 1.5}}, "`labels` of .*'liver': 1.5"),
        ({"labels": {"liver": -1}}, "`labels` of .*'liver': -1"),
        ({"labels": {"liver": 300}}, r"labels\.0\.value"),
        ({"labels": {"1": "a", "2": "a"}}, "one name"),
    ],
)
def test_a_listing_of_the_wrong_kind_is_named(
    tmp_path: Path, keys: dict[str, object], words: str
) -> None:
    write_json(tmp_path, training=[], **keys)
    with pytest.raises(DataError, match=words):
        guess_spec(tmp_path)
