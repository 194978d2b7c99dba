"""A study: its grid, its parts, and the statistics of its report."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from medssl.errors import UsageError
from medssl.families.segment.comparison import CaseTable, SegmentComparison
from medssl.pipeline.comparison import Result
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.study import Cell, Study, cells, checked_cells, load_study, select
from medssl.pipeline.study_page import gap_closed, strongest, tables, write_curve
from medssl.pipeline.study_report import machine
from medssl.pipeline.study_run import announced, run_study
from medssl.pipeline.study_tasks import Task
from tests.conftest import Medssl
from tests.told import Told

STUDY = """
title: Balls study
pipeline: balls
labels: [3, 2]
seeds: [0, 1]
arms:
  plain: [evaluate.overlays=0]
  noisy: [method.noise=0.1, evaluate.overlays=0]
reference: plain
ceiling: [split.labels=5, evaluate.overlays=0]
"""


@pytest.fixture
def study(balls: Path) -> Study:
    (balls / "pipelines" / "balls_study.yaml").write_text(STUDY)
    return load_study("balls_study")


def scores(values: Mapping[str, float]) -> Result:
    cases = {case: {"dice": value, "hd95": 1.0, "asd": 1.0} for case, value in values.items()}
    config = {"split": {"labels": 5}}
    return Result(Path("x"), config, {}, CaseTable(cases), "")


def test_the_grid_follows_the_order_and_ends_with_the_ceiling(study: Study) -> None:
    grid = [(cell.labels, cell.seed, cell.arm) for cell in cells(study)]
    assert grid[:5] == [
        (3, 0, "plain"),
        (3, 0, "noisy"),
        (3, 1, "plain"),
        (3, 1, "noisy"),
        (2, 0, "plain"),
    ]
    assert grid[8:] == [(5, 0, "ceiling"), (5, 1, "ceiling")]
    by_seed = study.model_copy(update={"order": ("seed", "labels", "arm")})
    assert [cell.seed for cell in cells(by_seed)][:8] == [0] * 4 + [1] * 4


def test_parts_of_one_axis_add_up_and_axes_narrow_each_other(study: Study) -> None:
    grid = cells(study)
    chosen = select(grid, ["arm=noisy,seed=1", "labels=2,labels=3"])
    assert [(cell.arm, cell.labels, cell.seed) for cell in chosen] == [
        ("noisy", 3, 1),
        ("noisy", 2, 1),
    ]
    assert select(grid, []) == grid


@pytest.mark.parametrize(
    ("only", "words"), [("arm=nosy", "did you mean 'noisy'"), ("fold=1", "arm=.., labels=..")]
)
def test_a_part_that_does_not_exist_is_refused(study: Study, only: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        select(cells(study), [only])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("reference: plane", "did you mean 'plain'"),
        ("reference: plain\nsedes: [1]", "did you mean 'seeds'"),
        ("reference: plain\nseed: 3", "did you mean 'seeds'"),
        ("reference: plain\nlabels: [4]", "line 10, column 1, .* 'labels' stands .* second time"),
        (
            "reference: plain\norder: seed",
            "order='seed' in the study .* is wrong; give a list of values out of",
        ),
    ],
)
def test_a_wrong_study_file_is_refused(study: Study, balls: Path, text: str, words: str) -> None:
    wrong = STUDY.replace("reference: plain", text)
    (balls / "pipelines" / "wrong_study.yaml").write_text(wrong)
    with pytest.raises(UsageError, match=words):
        load_study("wrong_study")


def test_a_study_of_no_pipeline_is_told_what_it_lacks(balls: Path) -> None:
    text = STUDY.replace("pipeline: balls\n", "")
    (balls / "pipelines" / "lost_study.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"'pipeline' is missing in .*lost_study\.yaml"):
        load_study("lost_study")


def test_a_study_may_extend_another_one_and_add_arms(study: Study, balls: Path) -> None:
    text = "extends: balls_study\nseeds: [5]\narms: {noisy: [method.noise=0.2], more: []}\n"
    (balls / "pipelines" / "more_study.yaml").write_text(text)
    found = load_study("more_study")
    assert (found.name, found.title, found.labels, found.seeds) == ("more_study", "", (3, 2), (5,))
    assert found.arms == {
        "plain": ("evaluate.overlays=0",),
        "noisy": ("method.noise=0.2",),
        "more": (),
    }


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("sedes: [1]", "unknown key 'sedes' in the study pipelines/{file}; did you mean 'seeds'"),
        ("seeds: [one]", 'seeds=["one"] in the study pipelines/{file} is wrong'),
        ("reference: plane", "the reference 'plane' of {file} is no arm"),
    ],
)
def test_a_wrong_key_of_a_study_is_told_with_the_file_that_it_stands_in(
    study: Study, balls: Path, wrong: str, words: str
) -> None:
    for base, top in ((wrong, "order: [seed, arm, labels]"), ("title: Mine", wrong)):
        (balls / "pipelines/base_study.yaml").write_text(f"extends: balls_study\n{base}\n")
        (balls / "pipelines/top_study.yaml").write_text(f"extends: base_study\n{top}\n")
        file = "base_study.yaml" if base == wrong else "top_study.yaml"
        with pytest.raises(UsageError) as caught:
            load_study("top_study")
        assert words.format(file=file) in str(caught.value)


def test_a_study_says_which_run_it_is_at_and_how_long_the_rest_takes(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the mean of the runs so far; those that were done before take no time and do not count."""

    # Each run is looked at before and after: 0.1 s (it was done), 60 s, 120 s.
    clock = iter([0.0, 0.1, 10.0, 70.0, 80.0, 200.0, 210.0, 211.0])
    monkeypatch.setattr("medssl.pipeline.study_run.time.perf_counter", lambda: next(clock))
    told = Told()
    tasks = [Task("run", number, cell, "") for number, cell in enumerate(cells(study)[:4])]
    assert list(announced(tasks, told)) == tasks
    assert told.notes == [
        "run 1 of 4: arm plain, labels 3, seed 0",
        "run 2 of 4: arm noisy, labels 3, seed 0",
        "run 3 of 4: arm plain, labels 3, seed 1 (about 2:00 left)",
        "run 4 of 4: arm noisy, labels 3, seed 1 (about 1:30 left)",
    ]


@pytest.mark.parametrize("arm", ["noisy", "ceiling"])
def test_a_wrong_override_is_told_with_its_arm(study: Study, arm: str) -> None:
    wrong = ("train.stepps=3",)
    changed = {"arms": {**study.arms, arm: wrong}} if arm == "noisy" else {arm: wrong}
    with pytest.raises(UsageError) as caught:
        checked_cells(study.model_copy(update=changed), [])
    words = f"the arm {arm} of the study balls_study: unknown key 'train.stepps'; did you mean"
    assert words in str(caught.value)


def test_a_device_that_is_not_here_is_told_once_before_any_run(
    study: Study, balls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for_gpus = study.model_copy(update={"arms": study.arms | {"noisy": ("train.device=cuda",)}})
    for jobs in (1, 2):
        with pytest.raises(UsageError, match=r"arm noisy of .*: the device cuda is not here"):
            run_study(for_gpus, QuietReporter(), jobs=jobs)
    assert not list((balls / "runs").glob("balls/*-*"))


def test_a_pipeline_with_lists_is_a_study(balls: Path) -> None:
    found = load_study("balls", "supervised,cps", "2,3", "0")
    assert found.arms == {"supervised": ("method=supervised",), "cps": ("method=cps",)}
    assert (found.labels, found.seeds, found.reference) == ((2, 3), (0,), ("supervised",))


def test_runs_in_pieces_make_the_same_study(
    study: Study, balls: Path, untrained: list[str]
) -> None:
    first = run_study(study, QuietReporter(), ["arm=plain,labels=2"], command="c")
    assert first.said.startswith("2 of 10 runs finished")
    last = run_study(study, QuietReporter(), threads=1, command="medssl study x")
    assert last.said.startswith("10 of 10 runs finished")
    assert len(untrained) == 10
    folder = balls / "runs" / "balls" / "study-balls_study"
    with (folder / "study.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 10
    assert all(0 <= float(row["dice"]) <= 1 for row in rows)
    with (folder / "learning_curve.csv").open() as stream:
        assert {row["arm"] for row in csv.DictReader(stream)} == {"plain", "noisy", "ceiling"}
    assert (folder / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    summary = (folder / "summary.md").read_text()
    for words in ("simulated", "`medssl study x`", "## 3 labels", "## Ceiling: 5 labels"):
        assert words in summary


def test_the_arms_are_compared_with_the_one_that_the_command_names(
    study: Study, balls: Path, untrained: list[str], medssl: Medssl
) -> None:
    run_study(study, QuietReporter())
    summary = balls / "runs" / "balls" / "study-balls_study" / "summary.md"
    assert "| arm less plain |" in summary.read_text()
    code, *_ = medssl("study", "balls_study", "--reference", "noisy", "-q")
    assert code == 0
    assert len(untrained) == 10  # nothing anew
    assert "| arm less noisy |" in summary.read_text()
    code, _, error = medssl("study", "balls_study", "--reference", "noisi")
    assert code == 2
    assert "--reference noisi is no arm of balls_study" in error
    assert "'noisy'" in error


def test_a_rehearsal_says_that_training_cases_are_scored(
    study: Study, balls: Path, untrained: list[str]
) -> None:
    (balls / "pipelines" / "rehearsed.yaml").write_text("extends: balls\nsplit: {rehearsal: 2}\n")
    rehearsed = study.model_copy(update={"pipeline": "rehearsed", "ceiling": None})
    told = Told()
    run_study(rehearsed, told, ["arm=plain,labels=2,seed=0"])
    assert any("2 training cases are scored in place of the test" in note for note in told.notes)
    summary = balls / "runs" / "rehearsed" / "study-balls_study" / "summary.md"
    assert "**Scored are training cases, to choose by:" in summary.read_text()


DICE = SegmentComparison()


def test_seeds_are_pooled_by_case() -> None:
    runs = {0: scores({"x": 0.2, "y": 0.6}), 1: scores({"x": 0.4, "y": 0.8})}
    assert DICE.pooled(runs) == pytest.approx({"x": 0.3, "y": 0.7})
    assert [DICE.mean(run) for run in runs.values()] == pytest.approx([0.4, 0.6])
    assert DICE.cells(runs)[0] == "0.500 [0.200, 0.800]"  # over items and seeds


def test_arms_are_compared_by_the_seeds_that_both_have() -> None:
    """A seed that is easy for everybody is no merit of the arm that ran it."""
    one = {0: scores({"x": 0.5, "y": 0.6}), 1: scores({"x": 0.9, "y": 0.95})}
    other = {0: scores({"x": 0.5, "y": 0.6})}
    assert DICE.difference(one, other)[0] == "+0.000 [+0.000, +0.000]"
    assert DICE.difference(one, {1: other[0]})[0].startswith("+0.375 ")


def test_a_case_counts_by_the_seeds_that_tested_it() -> None:
    runs = {0: scores({"x": 0.2, "y": 0.6}), 1: scores({"x": 0.4, "z": 0.8})}
    assert DICE.pooled(runs) == pytest.approx({"x": 0.3, "y": 0.6, "z": 0.8})


def test_the_reference_is_the_strongest_of_those_named(study: Study) -> None:
    both = study.model_copy(update={"reference": ("plain", "noisy")})
    arms = {name: {0: scores({"x": dice})} for name, dice in (("plain", 0.4), ("noisy", 0.5))}
    assert strongest(both, arms | {"z": {0: scores({"x": 1.0})}}, DICE) == "noisy"
    assert strongest(both, {"z": arms["plain"]}, DICE) is None


def test_a_page_sets_arms_against_the_reference_and_tells_the_gap(study: Study) -> None:
    low = {f"c{number}": 0.4 + 0.02 * number for number in range(8)}
    results = {
        Cell("plain", 0, 3): scores(low),
        Cell("noisy", 0, 3): scores({case: dice + 0.1 for case, dice in low.items()}),
        Cell("ceiling", 0, 5): scores({case: dice + 0.2 for case, dice in low.items()}),
    }
    page = tables(study, results, DICE)
    assert page[0] == "## 3 labels"
    row = next(line for line in page if line.startswith("| noisy") and "+" in line)
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "noisy",
        "+0.100 [+0.100, +0.100]",
        "0.0078",  # 2 / 2**8: the smallest two-sided p of eight pairs
        "50% [50%, 50%]",
    ]
    assert page[page.index("## 2 labels") + 2] == "No run is finished."
    assert "## Ceiling: 5 labels" in page


def test_a_curve_is_written_as_numbers_and_as_a_picture(
    study: Study, tmp_path: Path, figures: None
) -> None:
    low = {f"c{number}": 0.4 + 0.02 * number for number in range(8)}
    results = {
        Cell("plain", 0, 3): scores(low),
        Cell("ceiling", 0, 5): scores({case: dice + 0.2 for case, dice in low.items()}),
    }
    write_curve(study, results, DICE, True, tmp_path)
    with (tmp_path / "learning_curve.csv").open() as stream:
        found = [(row["arm"], row["labels"], row["dice"]) for row in csv.DictReader(stream)]
    assert found == [("plain", "3", "0.470000"), ("ceiling", "5", "0.670000")]
    picture = imread(tmp_path / "learning_curve.png")
    assert picture.shape[:2] == (600, 900)
    assert picture.std() > 0, "something is drawn"


def test_the_share_of_the_gap_by_hand() -> None:
    low = np.array([[0.4, 0.6]])
    share, bottom, top = gap_closed(low + 0.1, low, low + 0.2)
    assert share == pytest.approx(0.5)
    assert (bottom, top) == pytest.approx((0.5, 0.5))


def test_the_share_of_the_gap_is_less_sure_where_seeds_differ() -> None:
    low = np.array([[0.4, 0.6], [0.4, 0.6], [0.4, 0.6]])
    arm = low + np.array([[0.05], [0.1], [0.15]])
    share, bottom, top = gap_closed(arm, low, low[:1] + 0.2)
    assert share == pytest.approx(0.5)
    assert (bottom, top) == pytest.approx((0.25, 0.75), abs=0.05)


def test_the_machine_is_described_without_names() -> None:
    import platform

    assert "cores" in machine()
    assert platform.node() not in machine() or not platform.node()


def test_no_gap_gives_no_share(study: Study) -> None:
    flat = np.full((1, 2), 0.5)
    with np.errstate(all="ignore"):
        share, *interval = gap_closed(flat, flat, flat)
    assert math.isnan(share)
    assert all(math.isnan(bound) for bound in interval)
