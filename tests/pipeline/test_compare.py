"""The table across runs."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medssl.errors import DataError, UsageError
from medssl.families.segment.comparison import CaseTable, SegmentComparison, read_scores
from medssl.pipeline.compare import compare, tabulate
from medssl.pipeline.compare_page import MOST, compare_page
from medssl.pipeline.comparison import Result
from medssl.pipeline.results import read_result


def a_run(method: str, dice: dict[str, float], seed: int = 0, **more: Any) -> Result:
    config = {
        "method": {"name": method, **more},
        "data": "balls",
        "split": {"labels": 4},
        "seed": seed,
    }
    cases = {case: {"dice": value, "hd95": 3.0, "asd": 1.0} for case, value in dice.items()}
    return Result(Path("x"), config, {}, CaseTable(cases), "0123456789abcdef")


LOW = {f"c{index}": 0.5 + 0.01 * index for index in range(8)}
HIGH = {case: value + 0.1 for case, value in LOW.items()}


def test_a_row_per_run_with_the_difference_to_the_reference() -> None:
    runs = [a_run("supervised", LOW), a_run("tracoco", HIGH)]
    head, *rows = str(tabulate(runs, "supervised")).splitlines()
    assert head.split()[:3] == ["method", "labels", "seed"]
    assert "- supervised" in head
    assert rows[0].split()[:4] == ["supervised", "4", "0", "0.535"]
    assert "+0.100 [+0.100, +0.100]" in rows[1]
    assert "0.0078" in rows[1]  # 2 / 2**8: the smallest two-sided p of eight pairs
    assert rows[1].endswith("01234567")


def test_runs_of_one_method_are_told_apart_by_what_differs() -> None:
    runs = [a_run("supervised", LOW, members=1), a_run("supervised", HIGH, members=2)]
    rows = str(tabulate(runs, "supervised")).splitlines()[1:]
    assert rows[0].startswith("supervised members=1")
    assert rows[1].startswith("supervised members=2")


def test_runs_of_other_seeds_are_not_compared() -> None:
    text = str(
        tabulate([a_run("supervised", LOW, seed=0), a_run("tracoco", HIGH, seed=1)], "supervised")
    )
    assert "+0.1" not in text


def test_scores_are_means_over_classes(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(
        "case,class,outcome,dice,hd95\na,x,found,0.5,2\na,y,missed,0,40\nb,x,found,1,0\n"
    )
    assert read_scores(path) == {"a": {"dice": 0.25, "hd95": 21.0}, "b": {"dice": 1.0, "hd95": 0.0}}


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("case,class,dice\n")
    with pytest.raises(DataError, match="no scores"):
        read_scores(path)


def test_an_evaluation_that_lacks_a_score_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "{method: {name: cps}, data: balls, split: {labels: 4}, seed: 0}"
    )
    (tmp_path / "done.json").write_text('{"summary": {}}')
    (tmp_path / "scores.csv").write_text("case,class,dice,hd95\nc0,ball,0.5,1\n")
    with pytest.raises(UsageError, match="is not a complete evaluation"):
        read_result(tmp_path)


def test_without_runs_the_next_step_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSSL_RUNS", str(tmp_path))
    with pytest.raises(UsageError, match="medssl run hippocampus"):
        compare("hippocampus")
    with pytest.raises(UsageError, match="did you mean 'hippocampus'"):
        compare("hipocampus")


OWN = {"dice": 0.535, "dice_low": 0.2, "dice_high": 0.9}


@pytest.mark.parametrize("numbers", [OWN, {"dice": 0.535}])
def test_a_score_has_one_interval_wherever_it_stands(numbers: dict[str, float]) -> None:
    """In the table, in the figure and in leagues; that of the evaluation if it has one."""
    run = replace(a_run("supervised", LOW), numbers=numbers)
    found = tabulate([run], "supervised")
    (shown,) = found.headlines
    assert shown is not None
    assert str(shown) in found.rows[0]
    assert SegmentComparison().standing({0: run}) == shown
    if numbers is OWN:
        assert str(shown) == "0.535 [0.200, 0.900]"


def test_the_page_holds_the_table_and_a_figure_and_refers_to_nothing_else() -> None:
    runs = [
        a_run("supervised", LOW),
        a_run("tracoco", HIGH, note="<b>"),
        a_run("tracoco", HIGH, note="x"),
    ]
    runs = [replace(run, numbers={"dice": 0.5}) for run in runs]
    page = compare_page("balls <1>", tabulate(runs, "supervised"))
    for words in ("Runs of balls &lt;1&gt;", "+0.100 [+0.100, +0.100]", "&lt;b&gt;", "Test Dice"):
        assert words in page
    assert page.count("data:image/png;base64,") == 1
    assert page.count("<tr>") == 4
    assert not re.search(r"(src|href)=.(?!data:)", page)
    assert "Simulated" not in page


def test_many_runs_have_no_figure() -> None:
    runs = [a_run("supervised", LOW, seed=seed) for seed in range(MOST + 1)]
    assert "<figure" not in compare_page("balls", tabulate(runs, "supervised"))
