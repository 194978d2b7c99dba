"""How long a run will take and what memory it needs: told before it starts.

A few steps and a window are carried out with fresh networks on the run's own data. They draw from
generators of their own, so that the run's results are the same to the last bit.
"""

import resource
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from statistics import fmean, median
from typing import NamedTuple

import torch

from medssl.data.cache import CachedCase
from medssl.data.prefetch import Prefetch, choose_workers
from medssl.data.pseudo_foreground import LAG
from medssl.data.split import Split
from medssl.device import choose_device
from medssl.errors import UsageError
from medssl.families.segment.cohort import unlabelled_cases
from medssl.families.segment.config import SegmentConfig
from medssl.families.segment.streams import streams
from medssl.families.segment.train import build_method, cache_cases, used_cases
from medssl.infer.window import sliding_window
from medssl.infer.window_grid import Windows
from medssl.methods.method import Progress, SegmentMethod
from medssl.networks.ensemble import Ensemble
from medssl.pipeline.plan import Cohort
from medssl.pipeline.progress import QuietReporter
from medssl.train.allocator import keep_freed_memory
from medssl.train.loop import configure_torch
from medssl.train.update import make_update

STEPS = 3
"""So many are timed at least, after one that is not."""

MOST_STEPS = 20
LONG_ENOUGH = 2.0
"""Seconds of timed steps after which no more are made; and there are never more than `MOST_STEPS`.
Random changes are dear or none, so that three quick steps say little."""

FEWEST = 50
"""Steps of a whole run below which nothing is worth telling."""

FEW = 2
"""Cases of each kind that are enough to measure with."""


class Pace(NamedTuple):
    """Seconds that one thing takes.

    Attributes:
        wall: as a clock on the wall has them; on a machine that others use, as of now.
        processor: of all cores together, which other work changes little.
    """

    wall: float
    processor: float

    def times(self, count: float) -> "Pace":
        """The time of so many steps in a row."""
        return Pace(self.wall * count, self.processor * count)

    def and_then(self, other: "Pace") -> "Pace":
        """The time of both, one after the other."""
        return Pace(self.wall + other.wall, self.processor + other.processor)

    @classmethod
    def now(cls) -> "Pace":
        """Seconds that both clocks show now; meant for `since`."""
        return cls(time.perf_counter(), time.process_time())

    def since(self, before: "Pace") -> "Pace":
        """The time between an earlier look at the clocks and this one."""
        return Pace(self.wall - before.wall, self.processor - before.processor)


@dataclass(frozen=True)
class Foretold:
    """What a run will take.

    Attributes:
        step: of training.
        steps: of each training.
        trainings: those of the folds, and the last.
        window: of prediction.
        validated: windows that are predicted during all trainings.
        predicted: windows that are predicted afterwards.
        masks: that are made afterwards.
        memory: bytes.
        device: in words.
    """

    step: Pace
    steps: int
    trainings: int
    window: Pace
    validated: int
    predicted: int
    masks: int
    memory: int
    device: str

    @property
    def training(self) -> Pace:
        """Of all trainings."""
        steps = self.step.times(self.steps * self.trainings)
        return steps.and_then(self.window.times(self.validated))

    @property
    def prediction(self) -> Pace:
        """Of all masks that are made afterwards."""
        return self.window.times(self.predicted)

    def __str__(self) -> str:
        folds = f"{self.trainings} trainings of {self.steps} steps"
        what = folds if self.trainings > 1 else f"{self.steps} steps"
        said = f"{what} at {self.step.wall:.2g} s will take about {duration(self.training.wall)}"
        if self.masks:
            said += f", then {self.masks} masks about {duration(self.prediction.wall)}"
        return f"{said}; they need {self.memory / 1e9:.2g} GB on the {self.device}"


def duration(seconds: float) -> str:
    """A time in words, e.g. "2 h 10 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def in_words(config: SegmentConfig, cohort: Cohort, reporter: QuietReporter) -> str:
    """What a run will take, in a sentence; empty where it is next to nothing.

    Raises:
        DataError, UsageError: as `foretell`.
    """
    trainings = len(cohort.folds) + (config.pipeline.split.final == "refit" or not cohort.folds)
    if config.pipeline.train.steps * trainings < FEWEST:
        return ""
    return str(foretell(config, cohort, reporter))


def foretell(config: SegmentConfig, cohort: Cohort, reporter: QuietReporter) -> Foretold:
    """What a run will take, by a few of its cases, which are preprocessed now if need be.

    Raises:
        DataError: a case cannot be used.
        UsageError: the method lacks cases of a kind, or a step does not fit into the memory.
    """
    pipeline, split = config.pipeline, cohort.split
    few = replace(
        split, labelled=split.labelled[:FEW], unlabelled=split.unlabelled[:FEW], validation=()
    )
    cached = cache_cases(
        config, used_cases(cohort.cases, few), reporter, config.pipeline.preprocess.kept
    )
    step, window = timed(config, few, cached)
    folds = len(cohort.folds)
    ensemble = bool(folds) and pipeline.split.final == "ensemble"
    trainings = folds + (not ensemble)
    rounds = pipeline.train.steps // pipeline.train.validate_every * trainings
    looked = 0
    if pipeline.train.foreground_unlabelled:
        looks = (pipeline.train.steps - 1 + LAG) // pipeline.train.foreground_refresh
        looked = looks * trainings * len(split.unlabelled)
    rest = len(unlabelled_cases(cohort)) if pipeline.predict.unlabelled else 0
    final, held = len(split.test) + rest, len(cohort.left_out)
    flips = 2 ** len(pipeline.mirrored) if pipeline.predict.flips else 1
    windows = _windows(config, cached)
    device = choose_device(pipeline.train.device)
    return Foretold(
        step=step,
        steps=pipeline.train.steps,
        trainings=trainings,
        window=window,
        validated=round(windows * (rounds * len(split.validation) + held + looked)),
        predicted=round(windows * flips * (final * (folds if ensemble else 1) + held)),
        masks=final + held,
        memory=_memory(device),
        device="CPU" if device.type == "cpu" else f"GPU ({device})",
    )


def timed(
    config: SegmentConfig, split: Split, cached: Mapping[str, CachedCase]
) -> tuple[Pace, Pace]:
    """Of a step, and of a window that the trained networks answer.

    The generators of torch are left as they were.

    Args:
        split: whose cases are all among the cached ones.

    Raises:
        UsageError: a step does not fit into the memory; says what to lower.
    """
    train = config.pipeline.train
    device = choose_device(train.device)
    configure_torch(train.threads, train.deterministic)
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            method = build_method(config)
            return _step(config, method, split, cached), _window(config, method.eval())
    except torch.OutOfMemoryError:
        raise UsageError(
            f"a step of the training does not fit into the memory of {device}",
            f"it takes {train.batch_labelled} labelled and {train.batch_unlabelled} unlabelled "
            f"patches of {list(train.patch)}",
            "plan for less with plan.memory, or lower train.batch_labelled, "
            "train.batch_unlabelled or train.patch",
        ) from None


def _step(
    config: SegmentConfig,
    method: SegmentMethod,
    split: Split,
    cached: Mapping[str, CachedCase],
) -> Pace:
    """Of a step, batches included: by the wall the median, as other work may hold one up."""
    pipeline, train = config.pipeline, config.pipeline.train
    device = choose_device(train.device)
    if device.type == "cpu":
        keep_freed_memory()
    else:
        torch.cuda.reset_peak_memory_stats(device)
    update = make_update(method, train, pipeline.seed, device)
    workers = choose_workers(train.workers, device)
    ends = list[Pace]()
    with closing(Prefetch(streams(config, method, split, cached), 0, workers)) as feed:
        while not _enough(ends):
            update(feed.take(), Progress(len(ends) + 1, max(train.steps, MOST_STEPS + 1)))
            ends.append(Pace.now())
    steps = [after.since(before) for before, after in pairwise(ends)]
    return Pace(median(one.wall for one in steps), fmean(one.processor for one in steps))


def _enough(ends: list[Pace]) -> bool:
    """Whether the steps that ended then say how long one is."""
    timed = len(ends) - 1
    if timed < STEPS:
        return False
    return timed >= MOST_STEPS or ends[-1].since(ends[0]).wall >= LONG_ENOUGH


@torch.no_grad()
def _window(config: SegmentConfig, method: SegmentMethod) -> Pace:
    """Of a window, by two times four side by side, of which the first is not timed."""
    pipeline, predictor = config.pipeline, method.predictor()
    if pipeline.predict.network != "ensemble":
        predictor = Ensemble(predictor.members[:1])
    device, patch = choose_device(pipeline.train.device), pipeline.train.patch
    x, y, z = patch
    image = torch.zeros(len(config.spec.channels), 4 * x, y, z)
    begin = Pace.now()
    for _ in range(2):
        begin = Pace.now()
        how = {"window_batch": pipeline.predict.window_batch, "device": device}
        sliding_window(image, predictor, patch, patch, **how)  # type: ignore[arg-type]
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return Pace.now().since(begin).times(1 / 4)


def _windows(config: SegmentConfig, cached: Mapping[str, CachedCase]) -> float:
    """Windows of a case, on average."""
    pipeline = config.pipeline
    patch = pipeline.train.patch
    x, y, z = (max(1, side // 2) for side in patch)
    counts = []
    for case in cached.values():
        starts = Windows(case.record.network.shape, patch, pipeline.predict.stride or (x, y, z))
        counts.append(prod(len(one) for one in starts.starts))
    return sum(counts) / len(counts)


def _memory(device: torch.device) -> int:
    """Bytes at the peak: of the process on a CPU, else of tensors on the GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
