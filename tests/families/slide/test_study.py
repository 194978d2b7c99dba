"""A study of slide classifiers: its grid, what `--only` chooses, what it writes."""

from pathlib import Path

import pytest

from medssl.errors import UsageError
from medssl.families.slide.comparison import SlideComparison
from medssl.pipeline.comparison import Result
from medssl.pipeline.config import load_config
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.study import Cell, Study, cells, load_study, select
from medssl.pipeline.study_page import tables
from medssl.pipeline.study_run import run_study

STUDY = """
title: Toy heads
pipeline: bags
data: [bags]
seeds: [0, 1]
arms: {abmil: [method=abmil], mean_pool: [method=mean_pool]}
reference: abmil
"""


@pytest.fixture
def study(toys: Path) -> str:
    """Name of a study of two arms and two seeds."""
    (toys / "pipelines" / "toy_study.yaml").write_text(STUDY)
    return "toy_study"


def test_the_grid_is_data_by_seed_by_arm(study: str) -> None:
    found = cells(load_study(study))
    assert [(cell.seed, cell.arm) for cell in found] == [
        (0, "abmil"), (0, "mean_pool"), (1, "abmil"), (1, "mean_pool"),
    ]  # fmt: skip
    assert [cell.arm for cell in select(found, ["seed=1,arm=mean_pool"])] == ["mean_pool"]
    with pytest.raises(UsageError, match=r"name one of data=\.\., arm=\.\., seed=\.\."):
        select(found, ["labels=4"])


def test_a_reference_that_is_no_arm_is_refused(study: str) -> None:
    path = Path("pipelines/toy_study.yaml")
    path.write_text(STUDY.replace("reference: abmil", "reference: abml"))
    with pytest.raises(UsageError, match="did you mean 'abmil'"):
        load_study(study)


def test_finished_cells_are_kept_and_reported(study: str) -> None:
    loaded = load_study(study)
    word = run_study(loaded, QuietReporter(), ["seed=0"], threads=1, command="medssl study x")
    assert word.said.startswith("2 of 4 runs finished")
    page = Path("runs/bags/study-toy_study/summary.md").read_text()
    assert "## bags (simulated)" in page
    assert "`medssl study x`" in page
    assert "| mean_pool | 1 |" in page
    assert len(Path("runs/bags/study-toy_study/study.csv").read_text().splitlines()) == 3


def test_differences_are_over_bags_with_the_mean_over_seeds(toys: Path) -> None:
    def result(arm: str, seed: int, *right: bool) -> tuple[Cell, Result]:
        bags = {f"b{number}": one for number, one in enumerate(right)}
        config = {"data": "bags", "seed": seed}
        run = Result(Path("x"), config, {"auc": 0.5 + seed / 10}, bags, "")
        return Cell(arm, seed, None, "bags"), run

    results = dict(
        [
            result("one", 0, True, False, False, True),
            result("one", 1, True, False, True, True),
            result("two", 0, True, True, True, True),
            result("two", 1, True, True, True, True),
        ]
    )
    made = Study(
        name="s", pipeline="bags", data="bags", arms={"one": (), "two": ()}, reference="one"
    )
    page = "\n".join(tables(made, results, SlideComparison()))
    scored, compared = (line for line in page.splitlines() if line.startswith("| two"))
    assert "1.000 [1.000, 1.000]" in scored
    assert "0.550 (0.050)" in scored
    assert "+0.375 [" in compared  # bags: 0, 1, 1/2 and 0
    assert "optimistic" not in page  # no run has such numbers


def test_a_pipeline_of_bags_makes_a_study_of_two_methods(toys: Path) -> None:
    found = load_study("bags", seeds="0,1")
    assert list(found.arms) == ["abmil", "snuffy"]
    assert len(cells(found)) == 4
    assert found.labels == ()


def test_label_budgets_of_slides_are_refused(study: str) -> None:
    path = Path("pipelines/toy_study.yaml")
    path.write_text(STUDY + "labels: [2]\n")
    with pytest.raises(UsageError, match=r"study\.yaml names `labels`; .*'slide' do not differ"):
        load_study(study)


@pytest.mark.parametrize("name", ["mil_study", "planted_keys_study"])
def test_the_arms_of_shipped_studies_are_valid_pipelines(name: str) -> None:
    for cell in cells(load_study(name)):
        assert load_config(load_study(name).pipeline, cell.overrides).classes
