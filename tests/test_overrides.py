"""How keys lie over keys."""

from typing import Any

import pytest

from medssl.errors import UsageError
from medssl.overrides import apply_override, apply_overrides, laid_over


@pytest.mark.parametrize(
    ("below", "top", "found"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}, {"a": {"b": 1, "c": 3}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": 1}, {"a": None}, {"a": None}),
        # A part with a name keeps its other keys, at every depth.
        (
            {"train": {"optimiser": {"name": "sgd", "power": 1}}},
            {"train": {"optimiser": "adam"}},
            {"train": {"optimiser": {"name": "adam", "power": 1}}},
        ),
        # What is chosen as a whole keeps none.
        (
            {"method": {"name": "cps", "noise": 1}},
            {"method": {"name": "tracoco", "axis": "x"}},
            {"method": {"name": "tracoco", "axis": "x"}},
        ),
        ({"method": {"name": "cps", "noise": 1}}, {"method": "cps"}, {"method": "cps"}),
        (
            {"method": "cps"},
            {"method": {"noise": 2}},
            {"method": {"name": "cps", "noise": 2}},
        ),
        (
            {"pretrain": {"pipeline": "p", "set": ["a=1"]}},
            {"pretrain": {"checkpoint": "folder"}},
            {"pretrain": {"checkpoint": "folder"}},
        ),
        (
            {"pretrain": "encoder"},
            {"pretrain": {"set": ["a=1"]}},
            {"pretrain": {"pipeline": "encoder", "set": ["a=1"]}},
        ),
        (
            {"layout": {"kind": "bags", "file": "a"}},
            {"layout": {"kind": "slides"}},
            {"layout": {"kind": "slides"}},
        ),
        # Of a chain, the keys of one word are kept; another word or transform replaces it.
        (
            {"augment": {"basic": {"flip": "half", "noise": 0.1}}},
            {"augment": {"basic": {"noise": 0.2}}},
            {"augment": {"basic": {"flip": "half", "noise": 0.2}}},
        ),
        (
            {"augment": {"basic": {"flip": "half"}}},
            {"augment": {"standard": {"rotation": 10}}},
            {"augment": {"standard": {"rotation": 10}}},
        ),
        (
            {"augment": {"RandFlipd": {"prob": 1}}},
            {"augment": {"RandAffined": {"prob": 1}}},
            {"augment": {"RandAffined": {"prob": 1}}},
        ),
        (
            {"augment": "basic"},
            {"augment": {"basic": {"noise": 0.2}}},
            {"augment": {"basic": {"noise": 0.2}}},
        ),
        (
            {"augment": [{"RandFlipd": {"prob": 1}}]},
            {"augment": {"basic": {"noise": 0.2}}},
            {"augment": {"basic": {"noise": 0.2}}},
        ),
        # Where a part of that name has plain keys, they lie over each other as anywhere.
        (
            {"augment": {"noise": 0.3, "pad": 1}},
            {"augment": {"noise": 0.1}},
            {"augment": {"noise": 0.1, "pad": 1}},
        ),
        (
            {"layout": {"kind": "bags", "file": "a"}},
            {"layout": {"file": "b"}},
            {"layout": {"kind": "bags", "file": "b"}},
        ),
    ],
)
def test_keys_lie_over_keys(
    below: dict[str, Any], top: dict[str, Any], found: dict[str, Any]
) -> None:
    assert laid_over(below, top) == found


def test_an_override_in_braces_does_what_a_file_on_top_does() -> None:
    plain = {"train": {"steps": 1, "optimiser": {"name": "sgd", "power": 1}}}
    apply_override(plain, "train={optimiser: adam}")
    assert plain == {"train": {"steps": 1, "optimiser": {"name": "adam", "power": 1}}}


def test_keys_that_two_parts_share_by_an_anchor_are_changed_in_one() -> None:
    shared = {"x": 1}
    plain: dict[str, Any] = {"a": shared, "b": shared}
    apply_override(plain, "a.x=2")
    assert plain == {"a": {"x": 2}, "b": {"x": 1}}
    assert laid_over({"a": shared, "b": shared}, {"b": {"x": 3}})["a"] == {"x": 1}


@pytest.mark.parametrize(
    ("lost", "taker"),
    [("method.noise=1", "method=cps"), ("method.cutmix.x=1", "method={name: cps}"),
     ("preprocess.mr.spacing=[1, 1, 1]", "preprocess=ct")],
)  # fmt: skip
def test_a_key_that_a_later_choice_would_take_away_is_refused(lost: str, taker: str) -> None:
    with pytest.raises(UsageError, match="has no effect") as caught:
        apply_overrides({}, [lost, taker])
    assert f"'{taker}' after it chooses anew" in str(caught.value)
    apply_overrides({}, [taker, lost])


def test_a_later_value_of_the_same_key_stands() -> None:
    plain: dict[str, Any] = {}
    apply_overrides(plain, ["train.steps=1", "train={steps: 2}", "train.steps=3"])
    assert plain == {"train": {"steps": 3}}
