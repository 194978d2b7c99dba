"""What a run on radiographs will take is told before it starts, and changes nothing of it."""

import re
from pathlib import Path

import pytest

from medssl.families.grade.foretell import foretell
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import Job, make_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run
from tests.families.foretold import foretold, told_once_and_changes_nothing
from tests.told import Told


def test_it_is_told_once_and_the_run_is_the_same_to_the_last_bit(
    joints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped = ["network.dropout=0.5", "method=supervised_mixup"]
    line = told_once_and_changes_nothing("joints", dropped, "grades", monkeypatch)
    assert re.fullmatch(
        r"60 steps at \S+ s will take about \d+ s, then 12 grades about \d+ s; "
        r"they need \S+ GB on the CPU",
        line,
    )


def test_steps_and_images_are_those_of_the_run(joints: Path) -> None:
    """12 labelled images, 9 of validation, 12 of the test, 22 unlabelled, looked at every 20."""
    found = foretell(Job(make_plan(load_config("joints")), QuietReporter()))
    assert found.steps == (60,)
    assert found.validated == 3 * (9 + 22)
    assert (found.predicted, found.results) == (12, 12)
    assert min(found.step) > 0
    assert min(found.answer) > 0
    folded = ["split={labels: 4, folds: 3, validation: 0, final: ensemble}", "train.watched=5"]
    found = foretell(Job(make_plan(load_config("joints", folded)), QuietReporter()))
    assert found.steps == (60,) * 3
    assert found.validated == 3 * 3 * 5 + 3 * 5 + 12  # the networks alone, joined, and left out
    assert found.predicted == 3 * 12 + 12
    assert found.results == 24


def test_a_short_run_is_not_foretold(joints: Path) -> None:
    told = Told(listens=True)
    run(load_config("joints", ["train.steps=4"]), told)
    assert not foretold(told.notes)
