"""The training stage of slides: every fold, then all folds as one classifier, or one of all cases.

A fold trains on its bags and chooses the epoch and the threshold on its validation bags.

Legend: K classes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from medssl.atomic import append_text, make_folder, write_text
from medssl.data.bags.bag import BagSource, BagStream
from medssl.data.split import Split
from medssl.device import choose_device
from medssl.errors import UsageError
from medssl.evaluate.classification import choose_threshold
from medssl.evaluate.ranking import area_under_roc
from medssl.families.slide.cohort import SlidePlan
from medssl.families.slide.config import SlideConfig
from medssl.infer.bag_ensemble import BagEnsemble
from medssl.methods.method import BagMethod, BagTask
from medssl.networks.tile_encoder import build_tile_encoder
from medssl.pipeline.folds import train_folds
from medssl.pipeline.plan import Job
from medssl.pipeline.stage import read_json
from medssl.section import digest
from medssl.train.checkpoint import save_checkpoint
from medssl.train.distributed import TEAM
from medssl.train.feature_scaling import Scale, Scaled, ScaledBag
from medssl.train.fingerprint import fingerprint
from medssl.train.folds import FoldLog, fold_folder
from medssl.train.jsonl_log import read_lines
from medssl.train.loop import Callbacks, Log, Reporter, configure_torch, fit
from medssl.train.slide_checkpoint import SlideCheckpoint, SlideClassifier, load_slide_checkpoint
from medssl.train.track import Tracker

EPOCHS, CALLS = "epochs.jsonl", "calls.json"

REFIT = "refit"
"""Folder of the training on all labelled cases after those of the folds."""

Probabilities = dict[str, list[float]]
"""Bag to [K]."""


@dataclass(frozen=True)
class Calls:
    """What a fold's chosen weights say.

    Attributes:
        threshold: of the positive class, chosen on the validation bags; 0.5 without any.
        epochs: the test bags after every epoch; empty unless `train.watch_test`.
    """

    threshold: float
    test: Probabilities
    epochs: tuple[Probabilities, ...] = ()


def train(job: Job, tracker: Tracker) -> dict[str, Any]:
    """Train every fold that is not done, then join them.

    Raises:
        Stopped: a signal asked for it; the same call continues.
    """
    plan: SlidePlan = job.plan
    chosen = plan.config.pipeline.train
    configure_torch(chosen.threads, chosen.deterministic)
    tracker.tag("data_fingerprint", fingerprint(plan.cohort.cases))
    if not TEAM.leads:
        for split, place in TEAM.orders("fit"):
            told = Split.from_json(split), job.data, Path(place)
            FoldTraining(plan.config, *told).fit(job.reporter, FoldLog(tracker, None, 0))
        return {}

    def train_one(split: Split, folder: Path, log: Log) -> None:
        FoldTraining(plan.config, split, job.data, folder).run(job.reporter, log)

    parts, splits = zip(*trainings(plan), strict=True)
    steps = [chosen.loop(len(split.labelled)).steps for split in splits]
    log = train_folds(job, tracker, splits, steps, train_one)
    if job.fold is not None:
        return {}
    if plan.cohort.folds and plan.config.pipeline.split.final == "refit":
        parts = (plan.folder("train") / REFIT,)
        if not (parts[0] / CALLS).is_file():
            again = FoldTraining(plan.config, plan.cohort.split, job.data, parts[0])
            again.run(job.reporter, log)
    _join(plan, parts)
    tracker.artifact(plan.model, "checkpoint")
    return {}


def trainings(plan: SlidePlan) -> list[tuple[Path, Split]]:
    """Folder and split of each fold; without any, of the only training."""
    splits = plan.cohort.folds or plan.cohort.splits
    return [(fold_folder(plan.folder("train"), n), split) for n, split in enumerate(splits)]


def _join(plan: SlidePlan, folders: Sequence[Path]) -> None:
    """The trainings as one classifier, with the encoder of tiles, for slides yet to come."""
    parts = [load_slide_checkpoint(folder / "checkpoint" / "best") for folder in folders]
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
            "preprocess": config.pipeline.preprocess,
            "encoder": config.pipeline.encoder if config.tiled else None,
            "packages": config.pipeline.encoder.packages if config.tiled else {},
            "split_hash": digest([one.split_hash for one in described]),
            "step": tuple(step for one in described for step in one.step),
            "metrics": {
                name: sum(one.metrics[name] for one in described) / len(described) for name in names
            },
        }
    )
    save_checkpoint(plan.model, SlideClassifier(BagEnsemble(members), encoder), joined)


class FoldTraining:
    """Trains one fold in a folder of its own.

    Leaves checkpoint/{last,best}, epochs.jsonl (what every epoch said of the validation bags) and
    calls.json (what the best epoch says of the test bags).

    Args:
        bags: every labelled bag by id.

    Attributes:
        method: what is trained.
    """

    def __init__(
        self, config: SlideConfig, split: Split, bags: Mapping[str, BagSource], folder: Path
    ) -> None:
        self._config, self._split, self._folder = config, split, folder
        chosen = config.pipeline.train
        train = [bags[name] for name in split.labelled]
        self._width = int(np.asarray(train[0].features).shape[1])
        self._scale = Scale.of(train) if chosen.standardise else Scale.none(self._width)
        self._train = [ScaledBag(bag, self._scale) for bag in train]
        self._validation = [bags[name] for name in split.validation]
        self._test = [bags[name] for name in split.test]
        labels = [bag.label for bag in train]
        self._counts = tuple(labels.count(index) for index in range(len(config.classes)))
        task = BagTask(self._width, config.classes, self._counts)
        self.method: BagMethod = config.build(task)
        self._device = choose_device(chosen.device)

    def run(self, reporter: Reporter, log: Log) -> None:
        """Train, from `state.pt` where it exists, and write the calls.

        Raises:
            Stopped: a signal asked for it; the state is saved.
            MedsslError: a loss is not finite.
        """
        make_folder(self._folder)
        epochs = self._folder / EPOCHS
        if epochs.is_file():  # a kill may have cut its last line
            kept = epochs.read_text(encoding="utf-8", errors="replace").rpartition("\n")
            write_text(epochs, kept[0] + kept[1])
        TEAM.order("fit", self._split.to_json(), str(self._folder))
        self.fit(reporter, log)
        classifier, found = load_slide_checkpoint(self._folder / "checkpoint" / "best")
        head = classifier.head.to(self._device)
        calls = {
            "threshold": found.threshold,
            "test": predict_bags(head, self._test, self._device),
        }
        write_text(self._folder / CALLS, json.dumps(calls))

    @property
    def stream(self) -> BagStream:
        """The training bags, as they are learnt from."""
        chosen = self._config.pipeline
        return BagStream(self._train, chosen.seed, chosen.train.batch_bags)

    def predictor(self) -> nn.Module:
        """What answers for a bag by the present weights."""
        return Scaled(self.method.predictor(), self._scale).to(self._device).eval()

    def fit(self, reporter: Reporter, log: Log) -> None:
        """Train, together with the other processes where there are any."""
        fit(
            self.method,
            {"bags": self.stream},
            self._config.pipeline.train.loop(len(self._train)),
            self._config.pipeline.seed,
            self._folder / "state.pt",
            Callbacks(self._after_epoch, self.save, selects="score"),
            reporter,
            log,
        )

    def _after_epoch(self, step: int) -> dict[str, float]:
        """Scores of the validation bags; without any, later epochs are better."""
        predictor = BagEnsemble([self.predictor()])
        said = self._shared(predictor, self._validation)
        line: dict[str, object] = {"step": step, "validation": said}
        if self._config.pipeline.train.watch_test:
            line["test"] = self._shared(predictor, self._test)
        if TEAM.leads:
            append_text(self._folder / EPOCHS, json.dumps(line) + "\n")
        if not said:
            return {"score": float(step)}
        return _scores(*_arrays(self._validation, said))

    def _shared(self, head: nn.Module, bags: Sequence[BagSource]) -> Probabilities:
        """Probabilities of every bag; each process asks for a part."""
        said = TEAM.spread(lambda bag: predict_bags(head, [bag], self._device)[bag.id], bags)
        return {bag.id: found for bag, found in zip(bags, said, strict=True)}

    def save(self, kind: str, step: int, metrics: dict[str, float]) -> None:
        """Write one checkpoint, with the threshold that its validation bags ask for."""
        training = self.method.training
        folder = self._folder / "checkpoint"
        head = BagEnsemble([self.predictor()])
        described = SlideCheckpoint(
            width=self._width,
            classes=self._config.classes,
            counts=self._counts,
            members=1,
            thresholds=(self._threshold(head),),
            tiles=None,
            encoder=None,
            split_hash=self._split.hash,
            **self._config.provenance(),
            step=(step,),
            metrics={key: metrics[key] for key in ("auc", "log_loss") if key in metrics},
        )
        save_checkpoint(folder / kind, SlideClassifier(head, None), described)
        self.method.train(training)

    def _threshold(self, head: BagEnsemble) -> float:
        chosen = self._config.pipeline.evaluate.threshold
        if chosen == "half" or not self._validation or len(self._config.classes) > 2:
            return 0.5
        said = predict_bags(head, self._validation, self._device)
        truth, probability = _arrays(self._validation, said)
        return choose_threshold(probability[:, 1], truth)


@torch.no_grad()
def predict_bags(head: nn.Module, bags: Sequence[BagSource], device: torch.device) -> Probabilities:
    """Probabilities of every bag; `head` is set to evaluation mode."""
    head.eval()
    found = {}
    for bag in bags:
        features = torch.from_numpy(np.asarray(bag.features, np.float32)).to(device)
        found[bag.id] = head(features).probability.tolist()
    return found


def read_calls(folder: Path) -> Calls:
    """What a finished fold left.

    Raises:
        UsageError: it is damaged.
    """
    plain = read_json(folder / CALLS)
    if not isinstance(plain.get("threshold"), float) or not isinstance(plain.get("test"), dict):
        raise UsageError(
            f"{folder / CALLS} cannot be read", do=f"delete the folder {folder} and run again"
        )
    # A training that was killed and continued has some epochs twice; the later line counts.
    lines = read_lines(folder / EPOCHS)
    steps = {line["step"]: line.get("test") for line in lines if isinstance(line.get("step"), int)}
    watched = tuple(test for _, test in sorted(steps.items()) if test is not None)
    return Calls(plain["threshold"], plain["test"], watched)


def _scores(truth: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """AUC and log loss, and the score that chooses the epoch."""
    loss = float(-np.log(probability[np.arange(len(truth)), truth].clip(1e-12)).mean())
    area = area_under_roc(truth, probability)
    # Few validation bags often tie in AUC; the likelihood decides among equals.
    return {"score": area - 1e-3 * loss, "auc": area, "log_loss": loss}


def _arrays(bags: Sequence[BagSource], said: Probabilities) -> tuple[np.ndarray, np.ndarray]:
    """Truth [S] and probability [S, K]."""
    return (
        np.array([bag.label for bag in bags]),
        np.array([said[bag.id] for bag in bags], np.float64),
    )
