"""Grades by the nearest labelled images, from end to end."""

from pathlib import Path

import pytest

from medssl.errors import UsageError
from medssl.families.grade.comparison import GradeComparison
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import cohort_of, make_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.results import read_result
from medssl.pipeline.run import run
from medssl.train.checkpoint import read_weights

KNN = ["method=knn_grading", "network.head=neighbours", "network.nearest=3", "train.steps=6"]


def test_every_labelled_image_is_kept_once_and_answers_are_scored(joints: Path) -> None:
    config = load_config("joints", KNN)
    model = run(config, QuietReporter())["model"]
    weights = read_weights(model)
    assert len(weights["head.examples"]) == len(cohort_of(config).split.labelled)
    found = read_result(make_plan(config).last.folder)
    standing = GradeComparison().standing({0: found})
    assert standing.value == pytest.approx(found.numbers["balanced_accuracy"])
    assert standing.low is not None
    assert standing.high is not None
    assert standing.low <= standing.value <= standing.high


def test_a_head_that_keeps_nothing_is_refused(joints: Path) -> None:
    with pytest.raises(UsageError, match=r"set network\.head=neighbours"):
        load_config("joints", ["method=knn_grading"])
