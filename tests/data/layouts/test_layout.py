"""What a layout tells of its cases, whichever it is."""

from pathlib import Path

import numpy as np
import pytest

from medssl.data.check import check
from medssl.data.layout import Layout
from medssl.data.layouts import find_cases, holds_sessions, layout_of
from medssl.data.show import contact_sheet
from medssl.data.spec import load_spec
from medssl.errors import UsageError
from medssl.registry import LAYOUTS
from tests.data.conftest import declare
from tests.data.layouts.test_bags import PLAIN, from_csv
from tests.data.layouts.test_planted import spec_of as planted

CONTENT = {
    "bags": "bags",
    "planted": "bags",
    "radiographs": "radiographs",
    "slides": "slides",
}
"""By layout; all others hold volumes."""


@pytest.mark.parametrize("kind", sorted(LAYOUTS.shipped))
def test_every_layout_says_what_its_cases_are(kind: str, tmp_path: Path) -> None:
    layout = layout_of(declare(tmp_path, layout={"kind": kind}))
    assert isinstance(layout, Layout)
    assert layout.content == CONTENT.get(kind, "volumes")
    assert layout.makes_files == (kind in {"brain_cohort", "planted", "slices"})
    assert layout.sessions == (kind in {"bids", "nnssl"})
    assert (layout.contact_sheet is None) == (layout.content == "bags")


def test_any_layout_may_be_declared_to_hold_sessions(tmp_path: Path) -> None:
    assert not holds_sessions(declare(tmp_path, layout={"kind": "table"}))
    assert holds_sessions(declare(tmp_path, layout={"kind": "table", "sessions": True}))
    assert holds_sessions(declare(tmp_path, layout={"kind": "bids"}))


def test_bags_are_read_in_the_order_of_the_cases(tmp_path: Path) -> None:
    spec = from_csv(tmp_path, PLAIN)
    bags = layout_of(spec).bags(spec, find_cases(spec)[::-1])
    assert bags is not None
    assert [(bag.id, bag.label) for bag in bags] == [("bag_b2", 1), ("bag_b1", 0)]


def test_planted_bags_are_made_as_bags_are_read() -> None:
    spec = planted()
    bags = layout_of(spec).bags(spec, find_cases(spec))
    assert bags is not None
    assert len(bags) == 8
    assert bags[3].label == 1
    assert bags[3].features.dtype == np.float32


def test_other_cases_are_no_bags_as_they_stand(tmp_path: Path) -> None:
    for kind in ("slides", "table", "radiographs"):
        spec = declare(tmp_path, layout={"kind": kind})
        assert layout_of(spec).bags(spec, []) is None


def test_bags_have_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has nothing to draw; its bags hold numbers"):
        contact_sheet(load_spec("planted_keys"), [], tmp_path / "s.png")


def test_all_that_is_wrong_with_bags_is_told_in_one_pass(tmp_path: Path) -> None:
    spec = from_csv(tmp_path, "0,b/1,1,2\nodd,b2,5,6\n1,b3,nan,1\n")
    assert [(verdict.rule, verdict.level) for verdict in check(spec)] == [
        ("label", "error"),
        ("non-finite", "error"),
        ("name", "error"),
    ]
