"""Chains as pipelines name them: words, transforms of MONAI, ours and others', checked at once."""

import json
import subprocess
import sys

import pytest

from medssl.transforms import catalogue
from medssl.transforms.chain import Chain, Preprocess
from medssl.transforms.radiograph_chain import RadiographAugment, RadiographPreprocess
from medssl.transforms.tile_chain import TilePreprocess
from medssl.transforms.words import MrWord


def names(given) -> list[str]:
    return [step.name for step in Preprocess.of(given).steps]


def test_a_word_stands_for_a_chain() -> None:
    assert Preprocess.of("mr").plain == [
        {"medssl:ZScored": {"clip": [0.5, 99.5], "foreground": True}},
        {"Orientationd": {"axcodes": "RAS"}},
    ]
    assert names({"ct": {"spacing": [1, 1, 2], "crop_foreground": True}}) == [
        "medssl:MarkForegroundd",
        "ScaleIntensityRanged",
        "medssl:CropMarkedd",
        "Orientationd",
        "medssl:FieldSpacingd",
    ]
    assert names({"mr": {"orientation": None, "intensity": "none"}}) == []


def test_a_word_and_what_it_stands_for_are_one_chain() -> None:
    word = Preprocess.of({"mr": {"spacing": [2, 2, 2]}})
    spelt = Preprocess.of(word.plain)
    assert spelt == word
    assert spelt.fingerprint() == word.fingerprint()
    assert hash(spelt) == hash(word)
    assert word.short == {"mr": {"spacing": [2.0, 2.0, 2.0]}}
    assert spelt.short == word.plain


def test_words_and_transforms_follow_each_other_in_a_list() -> None:
    given = [{"mr": {"orientation": None}}, {"GaussianSmoothd": {"sigma": 1}}]
    assert names(given) == ["medssl:ZScored", "GaussianSmoothd"]


def test_given_keys_lie_over_the_owners_where_the_word_is_the_same() -> None:
    owner = Preprocess.of({"mr": {"crop_foreground": True}})
    assert Preprocess.of(owner.under({"mr": {"spacing": [1, 1, 1]}})).keys == MrWord(
        crop_foreground=True, spacing=(1, 1, 1)
    )
    assert owner.under({}) == owner.under("mr") == owner
    assert "medssl:CropMarkedd" not in names(owner.under("ct"))
    assert names(owner.under([{"Orientationd": {"axcodes": "LPS"}}])) == ["Orientationd"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("spacingd", "no transform is called 'spacingd'; did you mean 'Spacingd'"),
        ("ZScored", "no transform is called 'ZScored'; did you mean 'medssl:ZScored'"),
        ("Spacing", "did you mean 'Spacingd'"),
        ("RandFlipd", "RandFlipd moves voxels at random, .*; write it under augment"),
        ([{"Spacingd": {"pixdm": 1}}], "has no argument 'pixdm'; did you mean 'pixdim'"),
        (
            [{"Spacingd": {"pixdim": [1, 1, float("nan")]}}],
            "pixdim of the transform Spacingd is no",
        ),
        (
            [{"RandFlipd": {"prob": 2}}],
            "prob=2 of the transform RandFlipd is no chance from 0 to 1",
        ),
        ([{"medssl:RandBlurd": {"channel_prob": -1}}], "channel_prob=-1 of the transform"),
        (
            [{"ScaleIntensityRangePercentilesd": {"lower": 9, "upper": 1, "b_min": 0, "b_max": 1}}],
            "lower=9 and upper=1",
        ),
        (
            [{"ScaleIntensityRanged": {"a_min": 5, "a_max": 5, "b_min": 0, "b_max": 1}}],
            "a_min and a_max of the transform ScaleIntensityRanged are both 5: no range",
        ),
        (["Spacingd"], "Spacingd needs pixdim; write {Spacingd: {pixdim: ...}}"),
        ([{"Spacingd": [1, 1, 1]}], "takes arguments by name"),
        ({"mr": {}, "ct": {}}, r"several transforms are a list, e.g. \[{mr: ...}, {ct: ...}\]"),
        ({"spacing": [1, 1, 1]}, "spacing is a key of mr, ct, .*; write {mr: {spacing: ...}}"),
        ({"mr": {"spcing": 1}}, "unknown key 'mr.spcing'; did you mean 'mr.spacing'"),
        ("Lambdad", "Lambdad cannot stand in a chain; it takes a Python function; .* entry point"),
        ("CutMixd", "the transform CutMixd cannot stand in a chain; it is for batches"),
        ("CutOutd", "it is for batches; RandCoarseDropoutd cuts holes into each item"),
        ("Padd", "Padd cannot stand in a chain; it takes a Python object"),
        ("RandCropByPosNegLabeld", "cuts patches, which train.patch and train.foreground say"),
        ("RandTorchVisiond", "draws what no seed of an item decides"),
        ([{"TorchVisiond": {"name": "RandomErasing"}}], "draws what no .*name=RandomErasing"),
        ("GridDistortiond", "no result would find its way back; name RandGridDistortiond in augm"),
        ([{"NormalizeIntensityd": {"keys": ["img", "seg"]}}], "has the key 'img', which nothing"),
        (
            [{"ScaleIntensityd": {"keys": ["image", "seg"]}}],
            "key 'seg', which nothing makes; images",
        ),
        (
            [{"ScaleIntensityd": {"keys": []}}],
            "keys of the transform ScaleIntensityd are image, lab",
        ),
        (
            [{"ScaleIntensityd": {"keys": 5}}],
            "keys of the transform ScaleIntensityd are image, lab",
        ),
        (
            [{"CropForegroundd": {"source_key": "label"}}],
            r"asks for the mask \(source_key: label\), which no image to predict has; write so",
        ),
        (3, "give the name of a transform"),
    ],
)
def test_what_cannot_be_is_refused_with_the_nearest_right_thing(given, words) -> None:
    with pytest.raises(ValueError, match=words):
        Preprocess.of(given)


def test_a_key_that_a_step_makes_is_there_for_later_ones() -> None:
    copied = [{"CopyItemsd": {"names": "raw"}}, {"ScaleIntensityd": {"keys": "raw"}}]
    assert names(copied) == ["CopyItemsd", "ScaleIntensityd"]
    with pytest.raises(ValueError, match="has the key 'raw', which nothing makes"):
        Preprocess.of(copied[::-1])


@pytest.mark.parametrize("chain", [RadiographPreprocess, RadiographAugment, TilePreprocess])
def test_steps_for_masks_are_refused_where_there_are_none(chain: type[Chain]) -> None:
    with pytest.raises(ValueError, match="FillHolesd changes masks, and there are none; leave it"):
        chain.of(["FillHolesd"])


def test_every_transform_of_monai_is_held_or_refused_with_a_reason() -> None:
    known = catalogue.known_transforms()
    for name, reason in catalogue.unfit_transforms().items():
        assert name not in known
        assert "; " in reason
    told = {name for names in catalogue.UNFIT.values() for name in names}
    assert told == catalogue.unfit_transforms().keys()


def test_two_chains_say_by_what_images_look_different() -> None:
    one = Preprocess.of({"mr": {"spacing": [1, 1, 1], "crop_foreground": True}})
    other = Preprocess.of({"mr": {"spacing": [2, 2, 2]}})
    assert "[1.0, 1.0, 1.0]" in one.unlike(other)
    assert "[2.0, 2.0, 2.0]" in one.unlike(other)
    assert one.unlike(one.uncropped) == ""
    assert Preprocess.of("mr").unlike(Preprocess.of("ct"))


def test_the_list_of_transforms_is_that_of_the_installed_monai() -> None:
    """`python -m medssl.transforms.catalogue > medssl/transforms/catalogue.json` makes it anew."""
    assert json.loads(catalogue.LIST.read_text()) == json.loads(json.dumps(catalogue.installed()))


def test_a_chain_is_checked_without_importing_monai_or_torch() -> None:
    code = (
        "import sys; from medssl.transforms.chain import Preprocess; "
        "Preprocess.of([{'Spacingd': {'pixdim': 1}}, 'mr']).fingerprint(); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'monai')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
