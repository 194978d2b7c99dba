"""Names of contrasts: what is one, what only looks like one."""

from pathlib import Path

import pytest

from medssl.data.scan.contrasts import Contrasts, contrast_of, lookalike_sentences, lookalikes
from medssl.errors import UsageError
from tests.data.conftest import declare


@pytest.mark.parametrize(
    "names",
    [
        ("T1", "t1"),
        ("t1", "T1w"),
        ("T2-weighted", "t2"),
        ("FLAIR", "flair_2"),
        ("t1 mprage", "T1_MPRAGE"),
        ("T1w", "t1-2"),
        ("dwi (3)", "DWI"),
    ],
)
def test_case_weighting_separators_and_numbers_make_no_other_contrast(names):
    assert lookalikes(names) == [names]


@pytest.mark.parametrize(
    "names", [("t1", "t2"), ("t1", "t1c"), ("T-1", "T-2"), ("T2w", "T2star"), ("pd", "dwi")]
)
def test_other_contrasts_do_not_look_alike(names):
    assert lookalikes(names) == []


def test_the_sentence_says_which_alias_to_write():
    spec = declare(Path(), channels=["t1", "t2"])
    ((what, do),) = lookalike_sentences(["T1w", "t2", "T1w"], spec)
    assert what.startswith("t1 and T1w of toy look like one contrast but count as 2")
    assert "write `aliases: {t1: [T1w]}`" in do
    ((_, do),) = lookalike_sentences(["PET", "pet"], spec)
    assert "make it a channel, with `aliases: {PET: [pet]}`" in do


def test_contrasts_of_several_data_sets_are_united_by_name_and_alias():
    one = declare(Path(), channels=["t1", "flair"], aliases={"t1": ["T1w"]})
    other = declare(Path(), name="other", channels=["T1w", "t2"], aliases={"t2": ["T2w"]})
    contrasts = Contrasts([one, other])
    assert contrasts.names == ("t1", "flair", "t2")
    names = ("t1", "T1w", "T1w#2", "T2w", "scan", "t1c")
    assert [contrasts.index(name) for name in names] == [0, 0, 0, 2, -1, -1]


def test_an_alias_has_one_meaning():
    one = declare(Path(), channels=["t1"], aliases={"t1": ["mprage"]})
    other = declare(Path(), name="other", channels=["t1c"], aliases={"t1c": ["mprage"]})
    with pytest.raises(UsageError, match=r"'mprage' stands for t1 and for t1c; .*other"):
        Contrasts([one, other])


def test_a_further_scan_keeps_its_contrast():
    assert [contrast_of(name) for name in ("t1", "t1#12", "ce-gd_T1w#2")] == [
        "t1", "t1", "ce-gd_T1w",
    ]  # fmt: skip
