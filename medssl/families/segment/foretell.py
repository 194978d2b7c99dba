"""How long a run will take and what memory it needs: told before it starts.

A few steps and a window are carried out with fresh networks on the run's own data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil, prod
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from medssl.data.cache import CachedCase
from medssl.data.prefetch import choose_workers
from medssl.data.pseudo_foreground import LAG
from medssl.data.quantiles import quantiles_of
from medssl.data.record import Record
from medssl.data.spec import Case
from medssl.data.split import Split
from medssl.data.volume import read_geometry, read_volume, write_mask, write_volume
from medssl.device import choose_device
from medssl.families.segment.cohort import unlabelled_cases
from medssl.families.segment.config import SegmentConfig
from medssl.families.segment.grids import foreseen
from medssl.families.segment.streams import streams
from medssl.families.segment.train import build_method, cache_cases, used_cases
from medssl.families.segment.validation import outputs_of
from medssl.infer.cleaning import Cleaning
from medssl.infer.predict import predict_case
from medssl.infer.scan_traits import look
from medssl.infer.window import sliding_window
from medssl.infer.window_grid import Windows
from medssl.methods.method import SegmentMethod
from medssl.networks.ensemble import Ensemble
from medssl.pipeline.foretold import FEWEST, Foretold, Pace
from medssl.pipeline.plan import Cohort, Job
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.timing import in_words as named
from medssl.pipeline.timing import peak_memory, second_of_two, step_pace, trial
from medssl.transforms.compose import Preparation

MOST_WINDOWS = 4
"""That are timed together: small scans have one or two, which take longer each."""

MOST_HEADERS = 50
"""Scans whose headers are read to count windows."""

FEW = 2
"""Cases of each kind that are enough to measure with."""


def in_words(job: Job) -> str:
    """What a run will take, in a sentence; empty where it is next to nothing.

    Raises:
        DataError, UsageError: as `foretell`.
    """
    config: SegmentConfig = job.plan.config
    cohort: Cohort = job.plan.cohort
    if sum(_steps(config, cohort)) < FEWEST:
        return ""
    return str(foretell(config, cohort, job.reporter))


def _steps(config: SegmentConfig, cohort: Cohort) -> tuple[int, ...]:
    """Of each training: those of the folds, and the last."""
    last = config.pipeline.split.final == "refit" or not cohort.folds
    return (config.pipeline.train.steps,) * (len(cohort.folds) + last)


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
    folds, steps = len(cohort.folds), _steps(config, cohort)
    networks = folds if folds and pipeline.split.final == "ensemble" else 1
    rounds = ceil(pipeline.train.steps / pipeline.train.validate_every) * len(steps)
    looked = 0
    if pipeline.train.foreground_unlabelled:
        looks = (pipeline.train.steps - 1 + LAG) // pipeline.train.foreground_refresh
        looked = looks * len(steps) * len(split.unlabelled)
    rest = unlabelled_cases(cohort) if pipeline.predict.unlabelled else []
    final, held = len(split.test) + len(rest), len(cohort.left_out)
    windows = _windows(config, records, [*cohort.test, *rest])
    flips = 2 ** len(pipeline.mirrored) if pipeline.predict.flips else 1
    device = choose_device(pipeline.train.device)
    return Foretold(
        step=step,
        steps=steps,
        answer=window,
        validated=round(windows * (rounds * len(split.validation) + held + looked)),
        predicted=round(windows * flips * (final * networks + held)),
        result=_mask(config, next(case for case in cohort.cases if case.id in cached)),
        results=final + held,
        named="masks",
        memory=peak_memory(device),
        device=named(device),
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
    holds = (
        f"{train.batch_labelled} labelled and {train.batch_unlabelled} unlabelled "
        f"patches of {list(train.patch)}"
    )
    do = (
        "plan for less with plan.memory, or lower train.batch_labelled, "
        "train.batch_unlabelled or train.patch"
    )
    with trial(device, train.threads, train.deterministic, holds, do):
        method, workers = build_method(config), choose_workers(train.workers, device)
        feed = streams(config, method, split, cached)
        step = step_pace(method, feed, train, config.pipeline.seed, workers)
        return step, _window(config, method.eval(), windows)


@torch.no_grad()
def _window(config: SegmentConfig, method: SegmentMethod, count: int) -> Pace:
    """Of a window, by two times `count` side by side, of which the first is not timed."""
    pipeline, predictor = config.pipeline, method.predictor()
    if pipeline.predict.network != "ensemble":
        predictor = Ensemble(predictor.members[:1], predictor.outputs)
    device, patch = choose_device(pipeline.train.device), pipeline.train.patch
    x, y, z = patch
    image = torch.zeros(len(config.spec.channels), count * x, y, z)
    how = {"window_batch": pipeline.predict.window_batch, "device": device}

    def answer() -> None:
        sliding_window(image, predictor, patch, patch, **how)  # type: ignore[arg-type]

    return second_of_two(answer, device).times(1 / count)


def _mask(config: SegmentConfig, case: Case) -> Pace:
    """Of a mask, by the second of two, where the network answers at once.

    They are written into a folder that is thrown away. The guard looks at a scan without features,
    which are those of a network that knows the data.
    """
    pipeline, outputs = config.pipeline, outputs_of(config.spec)
    device, patch = choose_device(pipeline.train.device), pipeline.train.patch
    prepare = Preparation(pipeline.preprocess)
    how = pipeline.predict, outputs, device, Cleaning.of(pipeline.predict, config.spec.classes)
    files = [case.images[name] for name in config.spec.channels]
    looked = prepare(read_volume(files, config.spec.resample_channels))

    def make(folder: Path) -> None:
        volume = read_volume(files, config.spec.resample_channels)
        made = predict_case(Quick(outputs.count), volume, prepare, patch, *how)
        if pipeline.predict.guard:
            raw, image = quantiles_of(volume.array), looked.image
            look(image, volume.geometry, raw, patch, pipeline.mirrored, np.zeros(1))
        write_mask(made.labels, made.geometry, folder / "mask.nii.gz")
        if made.entropy is not None:
            write_volume(made.entropy, made.geometry, folder / "map.nii.gz")

    with TemporaryDirectory() as folder:
        return second_of_two(lambda: make(Path(folder)), device)


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
