"""The training stage: cases, split, cache, streams, loop, checkpoint."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
from medssl.families.segment.config import SegmentConfig
from medssl.infer.window import sliding_window
from medssl.methods.method import SegmentMethod, Task
from medssl.networks.build import build_encoder
from medssl.networks.transfer import PretrainedEncoder, transfer
from medssl.networks.trial import must_rebuild
from medssl.pipeline.plan import Job
from medssl.pipeline.progress import Counted, QuietReporter
from medssl.train.checkpoint import Checkpoint, DataCard, EncoderCard, save_checkpoint
from medssl.train.encoder_checkpoint import (
    encoder_card,
    load_encoder_weights,
)
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
    config.try_network()
    start = load_start(config, reporter)
    method = build_method(config, start)
    must_rebuild(
        method.predictor().members,
        pipeline.network,
        len(config.spec.channels),
        len(config.spec.classes),
    )
    used = used_cases(job.plan.cohort.cases, split)
    tracker.tag("data_fingerprint", fingerprint(used))
    cached = cache_cases(config, used, reporter)
    _refuse_unmarked(config, [cached[name] for name in split.labelled])
    empty = any(not cached[name].marked for name in split.labelled)
    watched = [cached[name] for name in split.validation if cached[name].mask is not None]
    callbacks = Callbacks(
        validate=Validation(config, method, watched) if watched else None,
        save=_saver(config, method, split, folder / "checkpoint", start, empty),
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


@dataclass(frozen=True)
class LoadedEncoder:
    """What every network of a training starts from.

    Attributes:
        encoder: weights, and how they are taken.
        card: what the trained checkpoint remembers of them.
    """

    encoder: PretrainedEncoder
    card: EncoderCard


def load_start(config: SegmentConfig, reporter: Reporter) -> LoadedEncoder | None:
    """The encoder of a pipeline, tried on its network once; None where it asks for none.

    Tells the reporter what fits, and where images look otherwise than in pre-training.

    Raises:
        UsageError, DataError: it cannot be read, or too little of it fits.
    """
    choice, network = config.pipeline.pretrain, config.pipeline.network
    if choice is None:
        return None
    weights, found = load_encoder_weights(choice.folder)
    config.must_fit(found.network, f"the encoder in {choice.folder}")
    given = PretrainedEncoder(weights, choice.matched, choice.channels)
    report = transfer(build_encoder(network, len(config.spec.channels), 0), given)
    reporter.note(f"encoder of {found.method.get('name')} from {choice.folder}: {report}")
    if unlike := config.pipeline.preprocess.unlike(found.preprocess):
        reporter.note(
            f"warning: the encoder was pre-trained on images that look otherwise: {unlike}"
        )
    return LoadedEncoder(given, encoder_card(choice.folder, found))


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
    config: SegmentConfig, cases: Sequence[Case], reporter: QuietReporter
) -> dict[str, CachedCase]:
    """The cases, preprocessed; what is cached already is not done again."""
    cache = CaseCache(cache_root(), config.spec, config.pipeline.preprocess)
    reporter.note(f"{len(cases)} cases of {config.spec.name}: preprocessing what is not cached")
    with Counted(reporter) as counted:
        return cache.prepare(cases, on_progress=counted)


def _refuse_unmarked(config: SegmentConfig, labelled: Sequence[CachedCase]) -> None:
    """Masks may be empty where the data set means it so, but not all of them."""
    if labelled and not any(case.marked for case in labelled):
        raise DataError(
            f"none of the {len(labelled)} masks of {config.spec.name} to train with marks a voxel",
            "there is nothing to learn from them",
            "give masks that mark something, raise split.labels, or set another seed",
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
    built: SegmentMethod = config.build(task)
    return built


def streams(
    config: SegmentConfig, method: SegmentMethod, split: Split, cached: dict[str, CachedCase]
) -> dict[str, PatchStream]:
    """The streams the method asks for."""
    pipeline = config.pipeline
    given = {
        "labelled": (split.labelled, pipeline.train.batch_labelled),
        "unlabelled": (split.unlabelled, pipeline.train.batch_unlabelled),
    }
    for kind in method.streams:
        if not given[kind][0]:
            raise UsageError(
                f"the method {pipeline.method.name} needs {kind} cases and the split has none",
                f"split.labels={pipeline.split.labels} takes all cases that have a label"
                if pipeline.split.labels
                else "every case has a label",
                "lower split.labels or choose method=supervised",
            )
    sampler = method.sampler(pipeline.train.patch)
    found: dict[str, PatchStream] = {}
    for kind in method.streams:
        cases, size = [cached[name] for name in given[kind][0]], given[kind][1]
        found[kind] = PatchStream(kind, cases, sampler, pipeline.augment, size, pipeline.seed)
    return found


def _saver(
    config: SegmentConfig,
    method: SegmentMethod,
    split: Split,
    folder: Path,
    start: LoadedEncoder | None,
    empty_masks: bool,
) -> Callable[[str, int, dict[str, float]], None]:
    """What writes the predictor as checkpoint `last` or `best`."""
    pipeline, spec = config.pipeline, config.spec

    def save(kind: str, step: int, metrics: dict[str, float]) -> None:
        predictor = method.predictor()
        described = Checkpoint(
            network=pipeline.network,
            members=len(predictor.members),
            channels=spec.channels,
            labels=spec.labels,
            modality=spec.modality,
            patch=pipeline.train.patch,
            preprocess=pipeline.preprocess,
            predict=pipeline.predict,
            method=config.method_values(),
            paper=config.method.paper,
            split_hash=split.hash,
            data=DataCard.of(spec),
            code=code_version(),
            step=step,
            metrics=metrics,
            encoder=start.card if start else None,
            mirrored=pipeline.augment.mirrored,
            empty_masks=empty_masks,
            packages=pipeline.network.packages,
        )
        save_checkpoint(folder / kind, predictor, described)

    return save


class Validation:
    """Mean foreground Dice of whole validation volumes on the network's grid."""

    def __init__(
        self, config: SegmentConfig, method: SegmentMethod, cases: Sequence[CachedCase]
    ) -> None:
        self._config, self._method, self._cases = config, method, cases

    @torch.no_grad()
    def __call__(self, step: int = 0) -> dict[str, float]:
        """Scores by name; "dice" is the mean over cases and foreground classes."""
        from medssl.evaluate.mask_metrics import Dice

        pipeline = self._config.pipeline
        predictor = self._method.predictor()
        device = choose_device(pipeline.train.device)
        x, y, z = pipeline.train.patch
        metric = Dice(len(self._config.spec.classes))
        for case in self._cases:
            logits = sliding_window(
                torch.from_numpy(case.image.astype("float32")),
                predictor,
                pipeline.train.patch,
                pipeline.predict.stride or (max(1, x // 2), max(1, y // 2), max(1, z // 2)),
                weighting=pipeline.predict.weighting,
                window_batch=pipeline.predict.window_batch,
                outside=case.floor,
                device=device,
            )
            metric.update(logits.argmax(0).cpu(), torch.from_numpy(np.array(case.mask)))
        return {"dice": float(metric.compute())}
