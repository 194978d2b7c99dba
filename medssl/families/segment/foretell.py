"""How long a run will take and what memory it needs: told before it starts.

A few steps and a window are carried out with fresh networks on the run's own data. They draw from
generators of their own, so that the run's results are the same to the last bit.
"""

import resource
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from math import ceil, prod
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from medssl.data.cache import CachedCase
from medssl.data.prefetch import Prefetch, choose_workers
from medssl.data.pseudo_foreground import LAG
from medssl.data.quantiles import quantiles_of
from medssl.data.record import Record
from medssl.data.spec import Case
from medssl.data.split import Split
from medssl.data.volume import read_geometry, read_volume, write_mask, write_volume
from medssl.device import choose_device
from medssl.errors import UsageError
from medssl.families.segment.cohort import unlabelled_cases
from medssl.families.segment.config import SegmentConfig
from medssl.families.segment.foretold import Foretold, Pace
from medssl.families.segment.grids import foreseen
from medssl.families.segment.streams import streams
from medssl.families.segment.train import build_method, cache_cases, used_cases
from medssl.families.segment.validation import outputs_of
from medssl.infer.cleaning import Cleaning
from medssl.infer.predict import predict_case
from medssl.infer.scan_traits import look
from medssl.infer.window import sliding_window
from medssl.infer.window_grid import Windows
from medssl.methods.method import Progress, SegmentMethod
from medssl.networks.ensemble import Ensemble
from medssl.pipeline.plan import Cohort
from medssl.pipeline.progress import QuietReporter
from medssl.train.allocator import keep_freed_memory
from medssl.train.loop import configure_torch
from medssl.train.update import make_update
from medssl.transforms.compose import Preparation

STEPS = 3
"""So many are timed at least, after one that is not."""

MOST_STEPS = 20
LONG_ENOUGH = 2.0
"""Seconds of timed steps after which no more are made; and there are never more than `MOST_STEPS`.
Random changes are dear or none, so that three quick steps say little."""

FEWEST = 50
"""Steps of a whole run below which nothing is worth telling."""

MOST_WINDOWS = 4
"""That are timed together: small scans have one or two, which take longer each."""

MOST_HEADERS = 50
"""Scans whose headers are read to count windows."""

FEW = 2
"""Cases of each kind that are enough to measure with."""


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
    pipeline, split, asked = config.pipeline, cohort.split, config.pipeline.plan
    few = replace(
        split, labelled=split.labelled[:FEW], unlabelled=split.unlabelled[:FEW], validation=()
    )
    cached = cache_cases(
        config, used_cases(cohort.cases, few), reporter, config.pipeline.preprocess.kept
    )
    records = [one.record for one in cached.values()]
    step, window = timed(config, few, cached, min(MOST_WINDOWS, round(_windows(config, records))))
    folds = len(cohort.folds)
    ensemble = bool(folds) and pipeline.split.final == "ensemble"
    trainings = folds + (not ensemble)
    rounds = pipeline.train.steps // pipeline.train.validate_every * trainings
    looked = 0
    if pipeline.train.foreground_unlabelled:
        looks = (pipeline.train.steps - 1 + LAG) // pipeline.train.foreground_refresh
        looked = looks * trainings * len(split.unlabelled)
    rest = unlabelled_cases(cohort) if pipeline.predict.unlabelled else []
    final, held = len(split.test) + len(rest), len(cohort.left_out)
    windows = _windows(config, records, [*cohort.test, *rest])
    flips = 2 ** len(pipeline.mirrored) if pipeline.predict.flips else 1
    device = choose_device(pipeline.train.device)
    return Foretold(
        step=step,
        steps=pipeline.train.steps,
        trainings=trainings,
        window=window,
        mask=_mask(config, next(case for case in cohort.cases if case.id in cached)),
        validated=round(windows * (rounds * len(split.validation) + held + looked)),
        predicted=round(windows * flips * (final * (folds if ensemble else 1) + held)),
        masks=final + held,
        memory=_memory(device),
        device="CPU" if device.type == "cpu" else f"GPU ({device})",
        limit=asked.limit if asked and asked.device in (None, device.type) else None,
    )


def timed(
    config: SegmentConfig, split: Split, cached: Mapping[str, CachedCase], windows: int
) -> tuple[Pace, Pace]:
    """Of a step, and of a window that the trained networks answer.

    The generators of torch are left as they were.

    Args:
        split: whose cases are all among the cached ones.
        windows: that are answered together.

    Raises:
        UsageError: a step does not fit into the memory; says what to lower.
    """
    train = config.pipeline.train
    device = choose_device(train.device)
    configure_torch(train.threads, train.deterministic)
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            method = build_method(config)
            return _step(config, method, split, cached), _window(config, method.eval(), windows)
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
def _window(config: SegmentConfig, method: SegmentMethod, count: int) -> Pace:
    """Of a window, by two times `count` side by side, of which the first is not timed."""
    pipeline, predictor = config.pipeline, method.predictor()
    if pipeline.predict.network != "ensemble":
        predictor = Ensemble(predictor.members[:1], predictor.outputs)
    device, patch = choose_device(pipeline.train.device), pipeline.train.patch
    x, y, z = patch
    image = torch.zeros(len(config.spec.channels), count * x, y, z)
    begin = Pace.now()
    for _ in range(2):
        begin = Pace.now()
        how = {"window_batch": pipeline.predict.window_batch, "device": device}
        sliding_window(image, predictor, patch, patch, **how)  # type: ignore[arg-type]
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return Pace.now().since(begin).times(1 / count)


def _mask(config: SegmentConfig, case: Case) -> Pace:
    """Of a mask, by the second of two, where the network answers at once.

    They are written into a folder that is thrown away. The guard looks at a scan without features,
    which are those of a network that knows the data.
    """
    begin = Pace.now()
    pipeline, outputs = config.pipeline, outputs_of(config.spec)
    prepare = Preparation(pipeline.preprocess)
    cleaning = Cleaning.of(pipeline.predict, config.spec.classes)
    how = pipeline.predict, outputs, choose_device(pipeline.train.device), cleaning
    files, patch = [case.images[name] for name in config.spec.channels], pipeline.train.patch
    looked = prepare(read_volume(files, config.spec.resample_channels))
    with TemporaryDirectory() as folder:
        for number in range(2):
            begin = Pace.now()
            volume = read_volume(files, config.spec.resample_channels)
            made = predict_case(Quick(outputs.count), volume, prepare, patch, *how)
            if pipeline.predict.guard:
                raw, image = quantiles_of(volume.array), looked.image
                look(image, volume.geometry, raw, patch, pipeline.mirrored, np.zeros(1))
            write_mask(made.labels, made.geometry, Path(folder) / f"{number}.nii.gz")
            if made.entropy is not None:
                write_volume(made.entropy, made.geometry, Path(folder) / f"{number}_map.nii.gz")
    return Pace.now().since(begin)


class Quick(nn.Module):
    """Answers at once, with the image times the number of the class, for `count` classes.

    What a network says of an image varies as much, and so takes as long to write.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, image: Tensor) -> Tensor:
        """[B, C, X, Y, Z] to [B, count, X, Y, Z]."""
        return torch.stack([number * image[:, 0] for number in range(self.count)], dim=1)


def _windows(config: SegmentConfig, records: Sequence[Record], cases: Sequence[Case] = ()) -> float:
    """Windows of a case, on average of `MOST_HEADERS` at most, or of prepared ones."""
    pipeline = config.pipeline
    patch, channel = pipeline.train.patch, config.spec.channels[0]
    x, y, z = (max(1, side // 2) for side in patch)
    asked = cases[:: max(1, ceil(len(cases) / MOST_HEADERS))]
    shapes = foreseen(records, [read_geometry(case.images[channel]) for case in asked])
    counts = []
    for shape in shapes or [one.network.shape for one in records]:
        starts = Windows(shape, patch, pipeline.predict.stride or (x, y, z)).starts
        counts.append(prod(map(len, starts)))
    return fmean(counts)


def _memory(device: torch.device) -> int:
    """Bytes at the peak: of the process on a CPU, else of tensors on the GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
