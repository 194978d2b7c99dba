"""The training stage: cases, split, cache, streams, loop, checkpoint."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from medssl.data.cache import CachedCase, CaseCache
from medssl.data.dicom.grids import Grids
from medssl.data.labels import IGNORED
from medssl.data.overlaps import overlapping
from medssl.data.prefetch import choose_workers
from medssl.data.spec import Case
from medssl.data.split import Split
from medssl.device import choose_device
from medssl.environment import cache_root
from medssl.errors import DataError
from medssl.families.segment.config import SegmentConfig
from medssl.families.segment.cross_validation import (
    choose_for_all,
    corrected,
    measure,
    said,
    size_errors,
    tested,
)
from medssl.families.segment.start import LoadedEncoder, load_start
from medssl.families.segment.streams import pseudo_foreground, streams
from medssl.families.segment.validation import Answers, Validation, outputs_of
from medssl.infer.checkpoint_guard import learn_guard
from medssl.infer.size_error import SizeError
from medssl.methods.method import LabelledCase, SegmentMethod, Task
from medssl.networks.ensemble import Ensemble
from medssl.networks.trial import must_rebuild
from medssl.pipeline.folds import networks_of_folds, train_folds
from medssl.pipeline.plan import Cohort, Job
from medssl.pipeline.progress import Counted, QuietReporter
from medssl.settings import PredictSettings
from medssl.train.checkpoint import (
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from medssl.train.distributed import TEAM
from medssl.train.fine_tune import FineTune
from medssl.train.fingerprint import fingerprint
from medssl.train.folds import FoldLog
from medssl.train.loop import Callbacks, Log, Reporter, configure_torch, fit
from medssl.train.track import Tracker
from medssl.transforms.chain import Preprocess


def train(job: Job, tracker: Tracker) -> dict[str, Any]:
    """Train in the stage's folder, from its state where there is one.

    Leaves state.pt, and the checkpoints `last` and, with validation cases, `best`; the same of each
    fold of a cross-validation in a folder of its own.

    Raises:
        Stopped: a signal asked for it; the state is saved.
        DataError, UsageError: the data or the settings do not allow it.
    """
    config: SegmentConfig = job.plan.config
    cohort: Cohort = job.plan.cohort
    pipeline, folder = config.pipeline, job.plan.folder("train")
    configure_torch(pipeline.train.threads, pipeline.train.deterministic)
    config.try_network()
    start = load_start(config, job.reporter)
    trained, spec = build_method(config, start).predictor().members, config.spec
    must_rebuild(trained, pipeline.network, len(spec.channels), outputs_of(spec).count)
    used = used_cases(cohort.cases, cohort.split)
    tracker.tag("data_fingerprint", fingerprint(used))
    chain, patients = config.pipeline.preprocess, {c.id: c.patient for c in used}
    with TEAM.first():
        learnt = cached = cache_cases(config, used, job.reporter)
        _tell_overlaps(cached.values(), job.reporter)
        if chain.kept != chain.certain:
            learnt = cache_cases(config, used, job.reporter, chain.kept)
    training = Training(config, start, cached, learnt, patients, job.reporter)
    if not TEAM.leads:
        for split, place in TEAM.orders("fit"):
            training.fit(
                Split.from_json(split), Path(place), FoldLog(tracker, None, 0), pipeline.predict
            )
        return {}
    steps = [pipeline.train.steps] * len(cohort.folds)
    log = train_folds(job, tracker, cohort.folds, steps, training.fold)
    if job.fold is not None:
        return {}
    if cohort.folds:
        choose_for_all(folder, len(cohort.folds), config.spec)
    predict = corrected(pipeline.predict, folder, None, config.spec)
    if cohort.folds:
        count = len(cohort.folds)
        errors = size_errors(folder, count, predict)
        training = replace(training, tested=tested(folder, count), size_errors=errors)
        job.reporter.note(f"corrections of masks: {said(predict)}")
    if cohort.folds and pipeline.split.final == "ensemble":
        networks = networks_of_folds(job.plan, load_checkpoint)
        training.ensemble(cohort.split, networks, folder, predict)
    else:
        training.fit(cohort.split, folder, log, predict)
    tracker.artifact(folder / "checkpoint" / "last", "checkpoint")
    return {}


@dataclass(frozen=True)
class Training:
    """Trains with one split after the other.

    Attributes:
        start: what the networks start from; None: from the seed.
        cached: every case that any split learns from, or leaves out, by id; as it is predicted.
        learnt: the same as they are kept for training, which does the rest for each item.
        patients: of these cases, by id.
        tested: what folds found, in a sentence.
        size_errors: how far their sizes were off, by class.
    """

    config: SegmentConfig
    start: "LoadedEncoder | None"
    cached: Mapping[str, CachedCase]
    learnt: Mapping[str, CachedCase]
    patients: Mapping[str, str]
    reporter: Reporter
    tested: str = ""
    size_errors: Mapping[str, SizeError] = field(default_factory=dict)

    def fit(
        self, split: Split, folder: Path, log: Log, predict: PredictSettings, guarded: bool = True
    ) -> SegmentMethod:
        """Train with a split in a folder, and leave checkpoints that predict as `predict` says.

        Args:
            guarded: whether they are to know what their training scans are like.
        """
        TEAM.order("fit", split.to_json(), str(folder))
        config, pipeline = self.config, self.config.pipeline
        labelled = [self._labelled(name) for name in split.labelled]
        method = build_method(config, self.start, labelled)
        _refuse_unmarked(config, [self.cached[name] for name in split.labelled])
        validation = [self.cached[name] for name in split.validation]
        watched = [case for case in validation if case.mask is not None]
        answers, outputs = Answers(config, method), outputs_of(config.spec)

        def save(kind: str, step: int, metrics: dict[str, float]) -> None:
            described = self._described(split, method.predictor(), predict, step, metrics)
            save_checkpoint(folder / "checkpoint" / kind, method.predictor(), described)

        validate = Validation(answers, watched, outputs) if watched else None
        search = pseudo_foreground(config, split, self.cached, method, answers)
        device = choose_device(pipeline.train.device)
        if pipeline.train.augment_on == "gpu" and device.type == "cpu":
            self.reporter.note(
                "train.augment_on=gpu finds no GPU in use: random changes are made on the CPU"
            )
        fit(
            method,
            streams(config, method, split, self.learnt, search),
            pipeline.train,
            pipeline.seed,
            folder / "state.pt",
            Callbacks(validate, save, search=search),
            self.reporter,
            log,
            FineTune(pipeline.fine_tune) if self.start else None,
            choose_workers(pipeline.train.workers, device),
        )
        if guarded:
            self._guard(split, folder)
        return method

    def fold(self, split: Split, folder: Path, log: Log) -> None:
        """Train with the split of a fold, and write down its answers to what it leaves out."""
        method = self.fit(split, folder, log, self.config.pipeline.predict, guarded=False)
        answers = Answers(self.config, method.eval())
        learnt, held = ([self.cached[name] for name in ids] for ids in (split.labelled, split.test))
        measure(answers, learnt, held, self.config.spec.classes, folder)

    def ensemble(
        self, split: Split, networks: list[nn.Module], folder: Path, predict: PredictSettings
    ) -> None:
        """Leave the networks of all folds as one checkpoint."""
        pipeline, joined = self.config.pipeline, Ensemble(networks, outputs_of(self.config.spec))
        described = self._described(split, joined, predict, pipeline.train.steps, {})
        save_checkpoint(folder / "checkpoint" / pipeline.predict.checkpoint, joined, described)
        self._guard(split, folder)

    def _guard(self, split: Split, folder: Path) -> None:
        """Let the checkpoints in a folder know what all scans of training are like."""
        device = choose_device(self.config.pipeline.train.device)
        scans = [self.cached[name] for name in sorted({*split.labelled, *split.unlabelled})]
        for kind in ("last", "best"):
            if (folder / "checkpoint" / kind).is_dir():
                learn_guard(folder / "checkpoint" / kind, scans, device)

    def _labelled(self, name: str) -> LabelledCase:
        """What a method is told of a case whose labels it learns."""
        counts = np.bincount(np.array(self.cached[name].mask).ravel())[:IGNORED]
        return LabelledCase(name, self.patients[name], tuple(np.flatnonzero(counts).tolist()))

    def _described(
        self,
        split: Split,
        predictor: Ensemble,
        predict: PredictSettings,
        step: int,
        metrics: dict[str, float],
    ) -> Checkpoint:
        """All that stands beside the weights."""
        config, pipeline, spec = self.config, self.config.pipeline, self.config.spec
        return Checkpoint(
            network=pipeline.network,
            members=len(predictor.members),
            channels=spec.channels,
            labels=spec.labels,
            regions=spec.regions,
            regions_class_order=spec.regions_class_order,
            modality=spec.modality,
            patch=pipeline.train.patch,
            preprocess=pipeline.preprocess,
            predict=predict,
            split_hash=split.hash,
            **config.provenance(),
            step=step,
            metrics=metrics,
            encoder=self.start.card if self.start else None,
            mirrored=pipeline.mirrored,
            empty_masks=any(not self.cached[name].marked for name in split.labelled),
            packages=pipeline.network.packages,
            grids=Grids.of(self.cached[name].record.source for name in split.labelled),
            series=spec.series,
            resample_channels=spec.resample_channels,
            tested=self.tested,
            size_errors=dict(self.size_errors),
        )


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
    config: SegmentConfig,
    cases: Sequence[Case],
    reporter: QuietReporter,
    chain: Preprocess | None = None,
) -> dict[str, CachedCase]:
    """The cases, preprocessed; what is cached already is not done again.

    Args:
        chain: what is done to them; None: all but what draws.
    """
    cache = CaseCache(cache_root(), config.spec, chain or config.pipeline.preprocess.certain)
    reporter.note(f"{len(cases)} cases of {config.spec.name}: preprocessing what is not cached")
    with Counted(reporter) as counted:
        return cache.prepare(cases, on_progress=counted)


def _tell_overlaps(cached: Iterable[CachedCase], reporter: QuietReporter) -> None:
    """Say it where structures of masks lie over others."""
    if found := [f"{one.id}: {word}" for one in cached for word in one.overlaps[:1]]:
        reporter.warn(overlapping(found))


def _refuse_unmarked(config: SegmentConfig, labelled: Sequence[CachedCase]) -> None:
    """Masks may be empty where the data set means it so, but not all of them."""
    if labelled and not any(case.marked for case in labelled):
        raise DataError(
            f"none of the {len(labelled)} masks of {config.spec.name} to train with marks a voxel",
            "there is nothing to learn from them",
            "give masks that mark something, raise split.labels, or set another seed",
        )


def build_method(
    config: SegmentConfig,
    start: LoadedEncoder | None = None,
    labelled: Sequence[LabelledCase] = (),
) -> SegmentMethod:
    """The method with freshly initialised networks, their encoders from `start`."""
    task = Task(
        channels=config.spec.channels,
        classes=config.spec.classes,
        patch=config.pipeline.train.patch,
        network=config.pipeline.network,
        encoder=start.encoder if start else None,
        labelled=tuple(labelled),
        loss=config.pipeline.loss,
        regions=config.spec.united,
    )
    built: SegmentMethod = config.build(task)
    return built
