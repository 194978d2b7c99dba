"""Every key is printed from its type: as text and as docs/keys.md."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import medssl
from medssl.errors import UsageError
from medssl.pipeline.class_keys import describe_class
from medssl.pipeline.file_kinds import FILES
from medssl.pipeline.key import Key
from medssl.pipeline.keys import (
    describe,
    find_sections,
    overview,
    page,
    read_section,
    section_names,
)
from medssl.transforms.chain import Augment, Chain, Preprocess
from medssl.transforms.radiograph_chain import RadiographAugment, RadiographPreprocess
from medssl.transforms.tile_chain import TilePreprocess

DOCS = Path(medssl.__file__).parents[1] / "docs"


def key(section: str, name: str) -> Key:
    return next(one for one in read_section(section).keys if one.name == name)


def test_a_key_says_what_it_takes_its_default_and_its_meaning() -> None:
    assert key("segment", "evaluate.tolerance") == Key(
        "evaluate.tolerance", "a number above 0", "1.0", "mm, normalised surface distance"
    )
    assert key("segment", "train.patch").takes == "three sizes, or two in 2-D"
    assert key("segment", "predict.checkpoint").takes == "one of 'last', 'best'"
    assert key("pretrain", "data").takes == "a text, or a list of texts, at least 1"
    assert key("data", "regions").takes == (
        "a mapping of keys to values, each a list of whole numbers"
    )


def test_a_default_can_be_given_as_it_is_printed() -> None:
    assert key("segment", "train.patch").default == "[32, 32, 32]"
    assert key("segment", "train.clip_norm").default == "null"
    assert key("segment", "train.deterministic").default == "true"
    assert key("slide", "train.optimiser.minimum").default == "5.0e-06"


def test_the_default_of_a_part_is_its_owners() -> None:
    assert key("segment", "train.optimiser").default == "sgd"
    assert key("grade", "train.optimiser").default == "adam"
    assert key("grade", "train.optimiser.learning_rate").default == "0.0001"
    assert key("method.cps", "method.pseudo.kind").default == "cross_entropy"
    assert key("method.tracoco", "method.pseudo.kind").default == "cbc"


def test_what_must_be_given_says_so_and_a_name_is_that_of_the_file() -> None:
    assert key("data", "licence").default is None
    assert key("data", "labels[].value").default is None
    assert (key("data", "name").default, key("data", "extends").default) == ("", "null")
    assert key("segment", "pretrain.checkpoint").default == "null"


def test_a_part_that_has_a_short_form_says_so() -> None:
    assert key("segment", "method").takes == "the name of a method, or keys of its own"
    assert key("segment", "network").takes == "one of its names, or keys of its own"
    assert key("segment", "pretrain").takes == (
        "a pre-training pipeline, or the folder of a checkpoint, or keys of its own, or null"
    )
    assert key("segment", "train").takes == "keys of its own"


@pytest.mark.parametrize("name", section_names())
def test_every_key_has_a_type_and_a_meaning(name: str) -> None:
    section = read_section(name)
    assert section.about
    for one in section.keys:
        assert one.meaning, one.name
        assert "another value" not in one.takes, one.name


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("segment", ["segment"]),
        ("segment.train", ["segment.train"]),
        ("fine_tune", ["segment.fine_tune"]),
        ("network", ["segment.network", "grade.network", "pretrain.network"]),
        ("data", ["data"]),
        ("data.labels", ["data.labels"]),
        ("labels", ["data.labels", "study.labels"]),
        (
            "pretrain",
            [
                "pretrain",
                "segment.pretrain",
                "grade.pretrain",
                "slide.pretrain",
                "pretrain.pretrain",
                "pretrain_tiles.pretrain",
            ],
        ),
        ("train.joint", ["pretrain.train.joint"]),
        ("train.watched", ["grade.train.watched"]),
        ("method.tracoco", ["method.tracoco"]),
        ("method.tracoco.noise", ["method.tracoco.noise"]),
        ("layout.glob.label", ["layout.glob.label"]),
        ("study", ["study"]),
        ("preprocess.mr", ["preprocess.mr"]),
        ("preprocess.joint", ["grade.preprocess.joint"]),
        ("grade.preprocess.joint", ["grade.preprocess.joint"]),
        ("preprocess.joint.side", ["preprocess.joint.side"]),
        ("preprocess.slide", ["slide.preprocess.slide"]),
        ("augment.semixup", ["grade.augment.semixup"]),
        ("grade.augment", ["grade.augment"]),
    ],
)
def test_a_section_is_found_alone_or_within_a_kind_of_file(asked: str, found: list[str]) -> None:
    assert [section.name for section in find_sections(asked)] == found


def test_a_section_holds_the_keys_below_it_and_no_others() -> None:
    (noise,) = find_sections("method.tracoco.noise")
    names = [one.name for one in noise.keys]
    assert names == ["method.noise", "method.noise.amplitude", "method.noise.clip"]


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ("trian", "did you mean 'train'?"),
        ("segment.trian", "did you mean 'segment.train'?"),
        ("train.setps", "did you mean 'train.steps'?"),
        ("method.tracco", "did you mean 'method.tracoco'?"),
        ("monai:SegResnet", "did you mean 'monai:SegResNet'?"),
        ("RandAffine", "did you mean 'RandAffined'?"),
        ("layout.golb", "did you mean 'layout.glob'?"),
        ("xyzzy", "`medssl keys` lists the sections"),
    ],
)
def test_an_unknown_section_is_refused_with_the_nearest(asked: str, near: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_sections(asked)
    assert str(caught.value) == f"no section or key is called '{asked}'; {near}"


def test_a_section_is_printed_key_by_key() -> None:
    text = describe("segment.evaluate.tolerance")
    assert text == (
        "# segment.evaluate.tolerance: pipelines that segment volumes\n\n"
        "evaluate.tolerance=1.0  (a number above 0)\n"
        "    mm, normalised surface distance"
    )
    assert "(a text; must be given)" in describe("data.licence")
    assert "tracoco, transmil" in describe("method")
    assert "no keys of its own" in describe("layout.nnunet")


def test_the_words_of_every_family_are_told() -> None:
    text = describe("preprocess")
    for words in (
        "preprocess=joint  (joint, radiograph, a transform",
        "preprocess=slide  (slide, a",
    ):
        assert words in text
    assert "`medssl keys grade.preprocess.NAME` prints the keys of its own of\n    joint" in text
    assert "medssl:JointCropsd" in describe("preprocess.joint")
    assert "changes nothing" in describe("preprocess.slide")
    assert "`medssl keys grade.augment.NAME`" in describe("augment")


@pytest.mark.parametrize(
    ("asked", "chain"),
    [
        *((f"preprocess.{word}", Preprocess) for word in Preprocess.WORDS),
        *((f"preprocess.{word}", RadiographPreprocess) for word in RadiographPreprocess.WORDS),
        ("preprocess.slide", TilePreprocess),
        *((f"augment.{word}", Augment) for word in ("standard", "basic")),
        ("augment.semixup", RadiographAugment),
    ],
)
def test_a_word_is_told_as_the_chain_that_it_stands_for(asked: str, chain: type[Chain]) -> None:
    found = chain.of(asked.partition(".")[2]).plain
    written = yaml.safe_dump(found, default_flow_style=True, width=10_000).strip()
    stands = f"stands for {written}" if found else "changes nothing"
    assert f"; on its own it {stands} " in f"{' '.join(describe(asked).split())} "


def test_the_arguments_of_a_network_of_monai_are_told() -> None:
    text = describe_class("monai:DynUNet") or ""
    assert text.startswith("# monai:DynUNet: a network of MONAI, whose channels, classes and axes")
    assert "can\nbe pre-trained" in text
    assert "\nnetwork.strides  (must be given)\n" in text
    assert "\nnetwork.deep_supervision=false\n" in text
    assert "\nnetwork.norm_name=[INSTANCE, {affine: true}]\n" in text
    assert "in_channels" not in text
    assert "pre-trained" not in (describe_class("monai:HighResNet") or "pre-trained")


@pytest.mark.parametrize("asked", ["RandAffined", "monai:RandAffined"])
def test_the_arguments_of_a_transform_are_told(asked: str) -> None:
    text = describe_class(asked) or ""
    assert text.startswith("# RandAffined: a transform, random, of the kind spatial")
    assert "\nprob=0.1\n" in text
    assert "\nmode=bilinear\n" in text
    assert "\nkeys  (image, label or both)\n" in text
    assert "\nrotation=30.0\n" in (describe_class("medssl:RandRotateScaled") or "")
    assert describe_class("train") is None


def test_arguments_are_told_without_importing_monai() -> None:
    lines = (
        "import sys; from medssl.pipeline.class_keys import describe_class; "
        "describe_class('monai:SegResNet'); describe_class('RandAffined'); "
        "sys.exit('monai' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", lines], check=False).returncode == 0


def test_the_overview_names_all_sections() -> None:
    words = overview()
    for name in (*FILES, "method.NAME", "layout.KIND", "tracoco", "datalist", "fine_tune"):
        assert name in words


def test_the_page_of_all_keys_is_up_to_date() -> None:
    assert (DOCS / "keys.md").read_text() == page(), "run `make docs`"
