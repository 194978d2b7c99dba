"""The training stage: cases, split, cache, streams, loop, checkpoint."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medssl.data.augment import intensity_changes
from medssl.data.cache import CachedCase, CaseCache
from medssl.data.spec import Case
from medssl.data.split import Split
from medssl.data.stream import PatchStream
from medssl.device import choose_device
from medssl.environment import cache_root
from medssl.errors import DataError, UsageError
from medssl.evaluate.segmentation import dice
from medssl.families.segment.config import SegmentConfig
from medssl.families.segment.initial_encoder import LoadedEncoder, load_start
from medssl.infer.window import sliding_window
from medssl.methods.method import SegmentMethod, Task
from medssl.methods.registry import implementation
from medssl.pipeline.plan import Job
from medssl.train.checkpoint import Checkpoint, DataCard, save_checkpoint
from medssl.train.fine_tune import FineTune
from medssl.train.fingerprint import code_version, fingerprint
from medssl.train.loop import Callbacks, Reporter, configure_torch, fit
from medssl.train.track import Tracker


def train(job: Job, tracker: Tracker) -> dict[str, Any]:
    """Train in the stage's folder, from its state where there is one.

    Leaves state.pt, and the checkpoints `last` and, with validation cases, `best`.

    Raises:
        Stopped: a signal asked for it; the state is saved.
        DataError, UsageError: the data or the settings do not allow it.
    """
    config: SegmentConfig = job.plan.config
    pipeline, split, reporter = config.pipeline, job.plan.cohort.split, job.reporter
    folder = job.plan.folder("train")
    configure_torch(pipeline.train.threads, pipeline.train.deterministic)
    start = load_start(config, reporter)
    used = used_cases(job.plan.cohort.cases, split)
    tracker.tag("data_fingerprint", fingerprint(used))
    cached = cache_cases(config, used, reporter)
    _refuse_unmarked(config, [cached[name] for name in split.labelled])
    empty = any(not cached[name].marked for name in split.labelled)
    method = build_method(config, start)
    callbacks = Callbacks(
        validate=_validation(config, method, [cached[i] for i in split.validation]),
        save=_Saver(config, method, split, folder / "checkpoint", start, empty),
    )
    fit(
        method,
        streams(config, method, split, cached),
        pipeline.train,
        intensity_changes(pipeline.augment),
        pipeline.seed,
        folder / "state.pt",
        callbacks,
        reporter,
        tracker,
        FineTune(pipeline.fine_tune) if start else None,
    )
    tracker.artifact(folder / "checkpoint" / "last", "checkpoint")
    return {}


def used_cases(cases: Sequence[Case], split: Split) -> list[Case]:
    """The cases that training may see; the unlabelled without their labels, so none is read."""
    labelled = {*split.labelled, *split.validation}
    unlabelled = set(split.unlabelled)
    return [
        case if case.id in labelled else replace(case, label=None)
        for case in cases
        if case.id in labelled | unlabelled
    ]


def cache_cases(
    config: SegmentConfig, cases: Sequence[Case], reporter: Reporter
) -> dict[str, CachedCase]:
    """The cases, preprocessed; what is cached already is not done again."""
    cache = CaseCache(cache_root(), config.spec, config.pipeline.preprocess)
    reporter.note(f"{len(cases)} cases of {config.spec.name}: preprocessing what is not cached")
    reporter.begin(len(cases), 0)
    try:
        return cache.prepare(cases, on_progress=lambda done, _: reporter.step(done, {}))
    finally:
        reporter.end()


def _refuse_unmarked(config: SegmentConfig, labelled: Sequence[CachedCase]) -> None:
    """Masks may be empty where the data set means it so, but not all of them."""
    if labelled and not any(case.marked for case in labelled):
        raise DataError(
            f"none of the {len(labelled)} masks of {config.spec.name} to train with marks a voxel",
            "there is nothing to learn from them",
            "raise split.labels, or set another seed",
        )


def build_method(config: SegmentConfig, start: LoadedEncoder | None = None) -> SegmentMethod:
    """The method with freshly initialised networks, their encoders from `start`."""
    task = Task(
        channels=config.spec.channels,
        classes=config.spec.classes,
        patch=config.pipeline.train.patch,
        network=config.pipeline.network,
        encoder=start.encoder if start else None,
    )
    built: SegmentMethod = implementation(config.method)(config.method, task, config.pipeline.seed)
    return built


def streams(
    config: SegmentConfig, method: SegmentMethod, split: Split, cached: dict[str, CachedCase]
) -> dict[str, PatchStream]:
    """The streams the method asks for."""
    pipeline = config.pipeline
    ids = {"labelled": split.labelled, "unlabelled": split.unlabelled}
    sizes = {
        "labelled": pipeline.train.batch_labelled,
        "unlabelled": pipeline.train.batch_unlabelled,
    }
    for kind in method.streams:
        if not ids[kind]:
            raise UsageError(
                f"the method {pipeline.method.name} needs {kind} cases and the split has none",
                f"{pipeline.split.labels} labels are asked for",
                "lower split.labels or choose method=supervised",
            )
    sampler = method.sampler(pipeline.train.patch)
    return {
        kind: PatchStream(
            kind, [cached[i] for i in ids[kind]], sampler, pipeline.augment, sizes[kind],
            pipeline.seed,
        )
        for kind in method.streams
    }  # fmt: skip


class _Saver:
    """Writes the predictor as checkpoint `last` or `best`."""

    def __init__(
        self,
        config: SegmentConfig,
        method: SegmentMethod,
        split: Split,
        folder: Path,
        start: LoadedEncoder | None,
        empty_masks: bool,
    ) -> None:
        self._config, self._method, self._split, self._folder = config, method, split, folder
        self._start, self._empty_masks = start, empty_masks

    def __call__(self, kind: str, step: int, metrics: dict[str, float]) -> None:
        """Write one checkpoint."""
        predictor = self._method.predictor()
        save_checkpoint(self._folder / kind, predictor, self._describe(step, metrics, predictor))

    def _describe(
        self, step: int, metrics: dict[str, float], predictor: torch.nn.Module
    ) -> Checkpoint:
        pipeline, spec = self._config.pipeline, self._config.spec
        members = predictor.members
        return Checkpoint(
            network=pipeline.network,
            members=len(members),  # type: ignore[arg-type]
            channels=spec.channels,
            labels=spec.labels,
            modality=spec.modality,
            patch=pipeline.train.patch,
            preprocess=pipeline.preprocess,
            predict=pipeline.predict,
            method={"name": pipeline.method.name, **self._config.method.model_dump(mode="json")},
            paper=self._config.method.paper,
            split_hash=self._split.hash,
            data=DataCard.of(spec),
            code=code_version(),
            step=step,
            metrics=metrics,
            encoder=self._start.card if self._start else None,
            mirrored=pipeline.augment.mirrored,
            empty_masks=self._empty_masks,
        )


def _validation(
    config: SegmentConfig, method: SegmentMethod, cases: Sequence[CachedCase]
) -> "Validation | None":
    labelled = [case for case in cases if case.mask is not None]
    return Validation(config, method, labelled) if labelled else None


class Validation:
    """Mean foreground Dice of whole validation volumes on the network's grid."""

    def __init__(
        self, config: SegmentConfig, method: SegmentMethod, cases: Sequence[CachedCase]
    ) -> None:
        self._config, self._method, self._cases = config, method, cases

    @torch.no_grad()
    def __call__(self, step: int = 0) -> dict[str, float]:
        """Scores by name; "dice" is the mean over cases and foreground classes."""
        pipeline = self._config.pipeline
        predictor = self._method.predictor()
        device = choose_device(pipeline.train.device)
        scores = []
        for case in self._cases:
            logits = sliding_window(
                torch.from_numpy(case.image.astype("float32")),
                predictor,
                pipeline.train.patch,
                _stride(config=self._config),
                weighting=pipeline.predict.weighting,
                window_batch=pipeline.predict.window_batch,
                outside=case.floor,
                device=device,
            )
            labels = logits.argmax(0).cpu().numpy()
            truth = np.asarray(case.mask)
            scores += [
                dice(labels == index, truth == index)
                for index in range(1, len(self._config.spec.classes))
            ]
        return {"dice": sum(scores) / len(scores)}


def _stride(config: SegmentConfig) -> tuple[int, int, int]:
    """Stride of validation windows: the set one, or half the patch."""
    if config.pipeline.predict.stride is not None:
        return config.pipeline.predict.stride
    x, y, z = (max(1, side // 2) for side in config.pipeline.train.patch)
    return x, y, z
