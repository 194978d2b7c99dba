"""The training stage of slides: every fold, then all folds as one classifier."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medssl.data.bag import BagSource
from medssl.infer.bag_ensemble import BagEnsemble
from medssl.networks.tile_encoder import build_tile_encoder
from medssl.pipeline.config import digest
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.slides.fold import CALLS, STATE, FoldTraining
from medssl.pipeline.slides.plan import SlidePlan
from medssl.pipeline.stage import Stage, carry_out
from medssl.train.checkpoint import save_checkpoint
from medssl.train.fingerprint import fingerprint
from medssl.train.loop import configure_torch
from medssl.train.slide_checkpoint import SlideClassifier, load_slide_checkpoint
from medssl.train.track import Tracker


def train_stage(
    plan: SlidePlan,
    bags: Mapping[str, BagSource],
    reporter: QuietReporter,
    resume: bool = True,
    parent: Stage | None = None,
) -> Path:
    """Train every fold that is not done; returns the folder of the checkpoint of all folds.

    Raises:
        Stopped: a signal asked for it; the same call continues.
    """
    stage, train = plan.train, plan.config.pipeline.train
    whole = stage.folder / "checkpoint"

    def work(tracker: Tracker) -> dict[str, Any]:
        configure_torch(train.threads, train.deterministic)
        tracker.tag("data_fingerprint", fingerprint(plan.cases))
        steps = 0
        for number, split in enumerate(plan.folds):
            folder, before = fold_folder(plan, number), steps
            steps += train.epochs * len(split.labelled)
            if (folder / CALLS).is_file():
                (folder / STATE).unlink(missing_ok=True)  # left by a kill right after the calls
                continue
            log = _FoldLog(tracker, number, before)
            FoldTraining(plan.config, split, bags, folder).run(reporter, log)
        _join(plan, whole)
        tracker.artifact(whole, "checkpoint")
        return {}

    carry_out(stage, plan.subject, work, reporter, parent=parent, resume=resume)
    return whole


def fold_folder(plan: SlidePlan, number: int) -> Path:
    """Where a fold's own checkpoints and calls are."""
    return plan.train.folder / f"fold{number}"


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
        for number in range(len(plan.folds))
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
