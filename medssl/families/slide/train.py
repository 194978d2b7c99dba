"""The training stage of slides: every fold, then all folds as one classifier."""

from pathlib import Path
from typing import Any

from medssl.families.slide.cohort import SlidePlan
from medssl.families.slide.fold import CALLS, FoldTraining
from medssl.infer.bag_ensemble import BagEnsemble
from medssl.networks.tile_encoder import build_tile_encoder
from medssl.pipeline.plan import Job
from medssl.section import digest
from medssl.train.checkpoint import save_checkpoint
from medssl.train.fingerprint import fingerprint
from medssl.train.loop import configure_torch
from medssl.train.slide_checkpoint import SlideClassifier, load_slide_checkpoint
from medssl.train.track import Tracker


def train(job: Job, tracker: Tracker) -> dict[str, Any]:
    """Train every fold that is not done, then join them.

    Raises:
        Stopped: a signal asked for it; the same call continues.
    """
    plan: SlidePlan = job.plan
    chosen = plan.config.pipeline.train
    configure_torch(chosen.threads, chosen.deterministic)
    tracker.tag("data_fingerprint", fingerprint(plan.cohort.cases))
    steps = 0
    for number, split in enumerate(plan.cohort.splits):
        folder, before = fold_folder(plan, number), steps
        steps += chosen.epochs * len(split.labelled)
        if (folder / CALLS).is_file():
            continue
        log = _FoldLog(tracker, number, before)
        FoldTraining(plan.config, split, job.data, folder).run(job.reporter, log)
    whole = joined_folder(plan)
    _join(plan, whole)
    tracker.artifact(whole, "checkpoint")
    return {}


def fold_folder(plan: SlidePlan, number: int) -> Path:
    """Where a fold's own checkpoints and calls are."""
    return plan.folder("train") / f"fold{number}"


def joined_folder(plan: SlidePlan) -> Path:
    """Where the checkpoint of all folds is."""
    return plan.folder("train") / "checkpoint"


class _FoldLog:
    """The tracker as one fold sees it; the steps of the folds follow each other."""

    def __init__(self, tracker: Tracker, number: int, before: int) -> None:
        self._tracker, self._number, self._before = tracker, number, before

    def metrics(self, step: int, values: dict[str, float]) -> None:
        """Keep `values` of the fold's `step`."""
        named = {f"fold{self._number}/{name}": value for name, value in values.items()}
        self._tracker.metrics(self._before + step, named)


def _join(plan: SlidePlan, folder: Path) -> None:
    """All folds as one classifier, with the encoder of tiles, for slides that are yet to come."""
    parts = [
        load_slide_checkpoint(fold_folder(plan, number) / "checkpoint" / "best")
        for number in range(len(plan.cohort.splits))
    ]
    config, described = plan.config, [one for _, one in parts]
    members = [member for classifier, _ in parts for member in classifier.head.members]
    encoder = None
    if config.tiled:
        encoder = build_tile_encoder(config.pipeline.encoder, config.pipeline.seed)
    names = sorted(set.intersection(*(set(one.metrics) for one in described)))
    joined = described[0].model_copy(
        update={
            "counts": tuple(map(sum, zip(*(one.counts for one in described), strict=True))),
            "members": len(members),
            "thresholds": tuple(one.threshold for one in described),
            "tiles": config.pipeline.tiles if config.tiled else None,
            "encoder": config.pipeline.encoder if config.tiled else None,
            "split_hash": digest([one.split_hash for one in described]),
            "step": tuple(step for one in described for step in one.step),
            "metrics": {
                name: sum(one.metrics[name] for one in described) / len(described) for name in names
            },
        }
    )
    save_checkpoint(folder, SlideClassifier(BagEnsemble(members), encoder), joined)
