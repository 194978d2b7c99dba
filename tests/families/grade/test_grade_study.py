"""A study of graders: its grid, what `--only` chooses, its statistics."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medssl.families.grade.comparison import GradeComparison, GradedImages
from medssl.pipeline.comparison import Result
from medssl.pipeline.config import load_config
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.study import Cell, Study, cells, load_study
from medssl.pipeline.study_page import tables
from medssl.pipeline.study_run import run_study

QUIET = QuietReporter()


def test_finished_cells_are_kept_and_reported(joints: Path) -> None:
    study = load_study("joints_study")
    word = run_study(study, QUIET, ["labels=2,seed=0"], threads=1, command="medssl study x")
    assert word.said.startswith("2 of 8 runs finished")
    folder = Path("runs/joints/study-joints_study")
    page = (folder / "summary.md").read_text()
    assert "**The data are simulated.**" in page
    assert "`medssl study x`" in page
    assert "## 2 labels per grade" in page
    assert "## 4 labels per grade\n\nNo run is finished." in page
    assert "| pi_model | 1 |" in page
    assert "arm less supervised_mixup" in page
    assert len((folder / "study.csv").read_text().splitlines()) == 3
    when = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("done.json")}
    run_study(study, QUIET, ["labels=2,seed=0"])
    assert when == {path: path.stat().st_mtime_ns for path in Path("runs").rglob("done.json")}


def result(arm: str, seed: int, predicted: list[int], kappa: float) -> tuple[Cell, Result]:
    truth = np.array([0] * 4 + [1] * 4 + [2] * 2)
    given = np.array(predicted)
    recall = np.mean([(given[truth == grade] == grade).mean() for grade in range(3)])
    numbers = {"balanced_accuracy": float(recall), "kappa": kappa}
    images = tuple(f"i{number}" for number in range(10))
    config = {"seed": seed, "split": {"labels": 5}}
    graded = GradedImages(images, truth, given)
    return Cell(arm, seed, 5), Result(Path("x"), config, numbers, graded, "")


def test_differences_are_those_of_the_mean_over_seeds(joints: Path) -> None:
    right = [0] * 4 + [1] * 4 + [2] * 2
    results = dict(
        [
            result("base", 0, [1, *right[1:]], 0.5),  # 3/4, 1, 1
            result("base", 1, [0] * 10, 0.0),  # 1, 0, 0
            result("other", 0, right, 0.9),
            result("other", 1, [0] * 4 + [1] * 4 + [0] * 2, 0.3),  # 1, 1, 0
        ]
    )
    study = Study(
        name="s",
        pipeline="joints",
        arms={"base": (), "other": ()},
        labels=(5,),
        reference=("base",),
    )
    lines = tables(study, results, GradeComparison())
    scores = next(line for line in lines if line.startswith("| base"))
    assert scores == "| base | 2 | 0.625 (0.292) | 0.250 (0.250) | 0.917, 0.333 |"
    (row,) = (line for line in lines if line.startswith("| other") and "+" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    # (1 - 11/12 + 2/3 - 1/3) / 2
    assert cells[1].startswith("+0.208 [")
    assert cells[2] == "+0.083, +0.333"
    assert cells[3] == "0.25"  # both of two seeds better
    assert cells[4] == "-"  # too few images for 20 parts
    assert cells[6] == "+0.400, +0.300"


def test_seeds_that_leave_out_other_images_are_compared_seed_by_seed(joints: Path) -> None:
    right = [0] * 4 + [1] * 4 + [2] * 2
    results = dict(
        [
            result("base", 0, [1, *right[1:]], 0.5),
            result("base", 1, [0] * 10, 0.0),
            result("other", 0, right, 0.9),
            result("other", 1, [0] * 4 + [1] * 4 + [0] * 2, 0.3),
        ]
    )
    for cell, one in results.items():
        if cell.seed == 1:
            renamed = tuple(f"j{number}" for number in range(10))
            results[cell] = replace(one, scores=replace(one.scores, images=renamed))
    first, second = ({cell.seed: one for cell, one in results.items() if cell.arm == arm}
                     for arm in ("other", "base"))  # fmt: skip
    found = GradeComparison().difference(first, second)
    assert found == ["+0.208", "+0.083, +0.333", "0.25", "-", "+0.350", "+0.400, +0.300", "0.25"]


def test_a_ceiling_takes_all_labels(joints: Path) -> None:
    path = joints / "pipelines" / "joints_study.yaml"
    path.write_text(path.read_text() + "ceiling: [method=supervised_grading, split.labels=null]\n")
    last = cells(load_study("joints_study"))[-1]
    assert (last.arm, last.labels) == ("ceiling", 0)
    assert load_config("joints", last.overrides).pipeline.split.labels is None


def test_a_pipeline_alone_makes_a_study_of_semixup_and_its_baseline(joints: Path) -> None:
    study = load_study("joints", labels="2", seeds="0,1")
    assert list(study.arms) == ["supervised_mixup", "semixup"]
    assert study.reference == ("supervised_mixup",)
    assert len(cells(study)) == 4


def test_the_arms_of_the_shipped_study_are_valid_pipelines() -> None:
    study = load_study("knee_study")
    for cell in (cell for cell in cells(study) if (cell.labels, cell.seed) == (5, 0)):
        assert len(load_config(study.pipeline, cell.overrides).grades) == 5


@pytest.mark.parametrize("name", ["knee", "knee_paper"])
def test_shipped_pipelines_are_complete(name: str) -> None:
    config = load_config(name)
    assert load_config(name).resolved() == config.resolved()
    assert config.pipeline.method.name == "semixup"


def test_the_published_settings_are_those_of_the_sheet() -> None:
    config = load_config("knee_paper")
    plain = config.resolved()
    published = {
        "name": "siamese", "width": 32, "dropout": 0.35, "pooling": "horizontal_vertical",
        "init": "normal", "head": "softmax", "weights": None,
    }  # fmt: skip
    assert published.items() <= plain["network"].items()
    optimiser = plain["train"]["optimiser"]
    assert (optimiser["name"], optimiser["learning_rate"], optimiser["weight_decay"]) == (
        "adam", 1e-4, 0,
    )  # fmt: skip
    assert plain["train"]["steps"] == 500 * -(-5 * 35 // 20)
    assert plain["method"]["weights"] == {
        "in_manifold": 2, "in_out_manifold": 2, "interpolation": 4,
    }  # fmt: skip
