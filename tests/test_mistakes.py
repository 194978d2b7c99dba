"""What is said of a wrong key: the key, what was given, and what would be right."""

from typing import Literal

import pytest
from pydantic import Field, ValidationError

from medssl.mistakes import mistake
from medssl.section import Channels, Patch, Positive, Section, Triple


class Rate(Section):
    value: float = Field(default=0.05, gt=0)
    share: float = Field(default=0.25, ge=0, lt=1)


class Network(Section):
    name: Literal["vnet", "unet3d"] = "vnet"
    width: Channels = 16


class Item(Section):
    value: int = Field(ge=1, le=255)
    name: str


class Run(Section):
    title: str
    steps: int = Field(default=1000, ge=1)
    fast: bool = False
    mode: Literal["last", "best"] = "last"
    patch: Patch = (32, 32, 32)
    stride: Triple | None = None
    spacing: tuple[Positive, Positive, Positive] | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    channels: tuple[str, ...] = Field(default=("t1",), min_length=1)
    save: tuple[Literal["labels", "entropy"], ...] = ("labels",)
    axes: tuple[Literal[0, 1], ...] = (0, 1)
    network: Network = Network()
    rate: Rate = Rate()
    labels: tuple[Item, ...] = ()
    aliases: dict[str, tuple[str, ...]] = Field(default={})
    code: str = Field(default="a", pattern="^[a-z]+$")


def said(given: dict[str, object], place: str = "") -> str:
    with pytest.raises(ValidationError) as caught:
        Run.model_validate({"title": "t"} | given)
    return str(mistake(Run, {"title": "t"} | given, caught.value, place=place))


NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        # numbers
        ({"steps": "many"}, "steps='many' is wrong; give a whole number of at least 1, e.g. 1000"),
        ({"steps": 0}, "steps=0 is wrong; give a whole number of at least 1, e.g. 1"),
        ({"steps": 2.5}, "steps=2.5 is wrong; give a whole number of at least 1, e.g. 1000"),
        ({"steps": True}, "steps=true is wrong; give a whole number of at least 1, e.g. 1000"),
        ({"steps": None}, "steps=null is wrong; give a whole number of at least 1, e.g. 1000"),
        ({"steps": [4]}, "steps=[4] is wrong; give a whole number of at least 1, e.g. 1000"),
        ({"steps": {"a": 1}}, 'steps={"a": 1} is wrong; give a whole number of at least 1'),
        ({"rate": {"value": 0}}, "rate.value=0 is wrong; give a number above 0, e.g. 0.05"),
        ({"rate": {"value": "x"}}, "rate.value='x' is wrong; give a number above 0, e.g. 0.05"),
        ({"rate": {"value": NAN}}, "rate.value=NaN is wrong; give a number above 0, e.g. 0.05"),
        ({"rate": {"value": INFINITY}}, "rate.value=Infinity is wrong; give a number above 0"),
        ({"rate": {"share": 1}}, "rate.share=1 is wrong; give a number of at least 0 and below 1"),
        ({"network": {"width": 10**7}}, "network.width=10000000 is wrong; give a whole number of "
         "at least 1 and at most 1024, e.g. 1024"),
        # true or false, texts, choices
        ({"fast": "maybe"}, "fast='maybe' is wrong; give true or false"),
        ({"fast": 2}, "fast=2 is wrong; give true or false"),
        ({"title": 2024}, "title=2024 is wrong; give a text, e.g. '2024'"),
        ({"code": "A1"}, "code='A1' is wrong; give a text that fits ^[a-z]+$"),
        ({"mode": "bets"}, "mode='bets' is wrong; give one of 'last', 'best'; did you mean "
         "'best'?"),
        ({"mode": 3}, "mode=3 is wrong; give one of 'last', 'best'"),
        # lists
        ({"patch": 32}, "patch=32 is wrong; give three sizes, or two in 2-D, e.g. [32, 32, 32]"),
        ({"patch": 48}, "patch=48 is wrong; give three sizes, or two in 2-D, e.g. [48, 48, 48]"),
        ({"patch": [8]}, "patch=[8] is wrong; give three sizes, or two in 2-D, e.g. [32, 32, 32]"),
        (
            {"patch": [8] * 4},
            "patch=[8, 8, 8, 8] is wrong; give three sizes, or two in 2-D, e.g. [8, 8, 8]",
        ),
        (
            {"patch": [8, "a", 8]},
            'patch=[8, "a", 8] is wrong; give three sizes, or two in 2-D, e.g. [32, 32, 32]',
        ),
        (
            {"patch": [8, True, 8]},
            "patch=[8, true, 8] is wrong; give three sizes, or two in 2-D, e.g.",
        ),
        (
            {"stride": [0, 8, 8]},
            "stride=[0, 8, 8] is wrong; give three sizes, or two in 2-D, or null, e.g. [1, 8, 8]",
        ),
        ({"spacing": 1.5}, "spacing=1.5 is wrong; give three numbers above 0, or null, e.g. "
         "[1.5, 1.5, 1.5]"),
        ({"spacing": [0, 1, 1]}, "spacing=[0, 1, 1] is wrong; give three numbers above 0, or null"),
        ({"spacing": [NAN, 1, 1]}, "spacing=[NaN, 1, 1] is wrong; give three numbers above 0"),
        ({"spacing": [-1, 1, 1]}, "spacing=[-1, 1, 1] is wrong; give three numbers above 0"),
        ({"betas": 0.5}, "betas=0.5 is wrong; give two numbers, e.g. [0.5, 0.5]"),
        ({"channels": "t1"}, "channels='t1' is wrong; give a list of texts, at least 1, e.g. "
         '["t1"]'),
        ({"channels": []}, "channels=[] is wrong; give a list of texts, at least 1, e.g. "
         '["t1"]'),
        ({"save": "label"}, "save='label' is wrong; give a list of values out of 'labels', "
         "'entropy', e.g. [\"labels\"]; did you mean 'labels'?"),
        ({"axes": [2]}, "axes=[2] is wrong; give a list of values out of 0, 1, e.g. [0, 1]"),
        ({"aliases": {"t1": "T1w"}}, "aliases.t1='T1w' is wrong; give a list of texts, e.g. "
         '["T1w"]'),
        ({"aliases": ["t1"]}, 'aliases=["t1"] is wrong; give a mapping of keys to values'),
        # parts
        ({"rate": 3}, "rate=3 is wrong; give keys of its own (value, share)"),
        ({"rate": None}, "rate=null is wrong; give keys of its own (value, share)"),
        ({"rate": [1]}, "rate=[1] is wrong; give keys of its own (value, share)"),
        ({"network": "unet"}, "network.name='unet' is wrong; give one of 'vnet', 'unet3d'; did you "
         "mean 'unet3d'?"),
        ({"network": 3}, "network=3 is wrong; give a name, or keys of its own (name, width)"),
        ({"labels": [{"value": 0, "name": "a"}]}, "labels.0.value=0 is wrong; give a whole number "
         "of at least 1 and at most 255, e.g. 1"),
        # keys
        ({"stepss": 3}, "unknown key 'stepss'; did you mean 'steps'?"),
        ({"rate": {"vlaue": 3}}, "unknown key 'rate.vlaue'; did you mean 'rate.value'?"),
        ({"network": {"name:vnet": None}}, "unknown key 'network.name:vnet'; write a space after "
         "the colon: name: vnet"),
        ({"width": 3}, "unknown key 'width'; did you mean 'network.width'?"),
        ({"labels": [{"valeu": 1, "name": "a"}]}, "unknown key 'labels.0.valeu'; did you mean "
         "'labels.0.value'?"),
        ({"labels": [{"value": 1}]}, "the key 'labels.0.name' is missing; add it"),
        ({"rate": {1: 2}}, "the key rate.1 is no text; put it in quotes"),
    ],
)  # fmt: skip
def test_the_sentence_says_what_would_be_right(given: dict[str, object], sentence: str) -> None:
    assert said(given).startswith(sentence)


def test_an_unknown_key_is_named_before_the_one_that_it_leaves_missing() -> None:
    with pytest.raises(ValidationError) as caught:
        Run.model_validate({"titel": "t"})
    assert "unknown key 'titel'; did you mean 'title'?" in str(
        mistake(Run, {"titel": "t"}, caught.value)
    )


def test_the_place_is_named_where_there_is_one() -> None:
    assert said({"steps": 0}, "file a.yaml").startswith("steps=0 in the file a.yaml is wrong; give")


def test_long_values_are_cut_short() -> None:
    assert len(said({"steps": "x" * 1000})) < 200
