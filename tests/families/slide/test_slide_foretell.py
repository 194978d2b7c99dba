"""What a run on bags or slides will take is told before it starts, and changes nothing of it."""

import re
from pathlib import Path

import numpy as np
import pytest

from medssl.data.bags.bag import Bag, BagStream
from medssl.families.slide.foretell import LargestFirst, foretell
from medssl.pipeline.config import load_config
from medssl.pipeline.foretold import Foretold
from medssl.pipeline.plan import Job, make_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run
from tests.families.foretold import foretold, told_once_and_changes_nothing
from tests.told import Told


def found(name: str, *overrides: str) -> Foretold:
    return foretell(Job(make_plan(load_config(name, overrides)), QuietReporter()))


def test_it_is_told_once_and_the_run_is_the_same_to_the_last_bit(
    toys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = told_once_and_changes_nothing("bags", [], "calls", monkeypatch)
    assert re.fullmatch(
        r"3 trainings of \d+( to \d+)? steps at \S+ s will take about \d+ s, then 24 calls about "
        r"\d+ s; they need \S+ GB on the CPU",
        line,
    )


def test_steps_and_bags_are_those_of_the_run(toys: Path) -> None:
    cohort = make_plan(load_config("bags")).cohort
    told = found("bags")
    assert told.steps == tuple(12 * len(fold.labelled) for fold in cohort.folds)
    assert told.validated == 12 * sum(len(fold.validation) for fold in cohort.folds) + 24
    assert (told.predicted, told.results, told.named) == (24, 24, "calls")
    assert min(told.step) > 0
    assert min(told.answer) > 0
    watched = found("bags", "train.watch_test=true")
    assert watched.validated == told.validated + 12 * 24
    refit = found("bags", "split.final=refit")
    last = cohort.split
    assert refit.steps == (*told.steps, 12 * len(last.labelled))


def test_heat_maps_of_slides_count(toys: Path) -> None:
    """Two folds of four slides, each asked for call and map; both answer for a fifth."""
    told = found("slides")
    assert told.steps == (4, 4)
    assert (told.predicted, told.results, told.named) == (2 * 4 + 2 * 2, 5, "calls with heat maps")
    assert told.result.wall > 0
    assert found("slides", "predict.heat_maps=false").predicted == 4 + 2


def test_the_step_that_is_not_timed_holds_the_largest_bags() -> None:
    sizes = {"small": 2, "large": 9, "middle": 5}
    bags = [Bag(name, name, 0, np.zeros((size, 1))) for name, size in sizes.items()]
    stream = BagStream(bags, seed=0)
    first = LargestFirst(stream, sizes)
    assert first.batch(0).ids == ("large",)
    assert [first.batch(n).ids for n in (1, 2)] == [stream.batch(n).ids for n in (1, 2)]


def test_a_short_run_is_not_foretold(toys: Path) -> None:
    told = Told(listens=True)
    run(load_config("slides"), told)
    assert not foretold(told.notes)
