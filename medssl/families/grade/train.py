"""The training stage of radiographs: streams, loop, validation, checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from medssl.data.radiograph.stream import RadiographStream
from medssl.data.rest import Rest
from medssl.data.split import Split
from medssl.device import choose_device
from medssl.evaluate.calibration import fit_temperature
from medssl.evaluate.ranking import measured
from medssl.families.grade.cohort import GradePlan, kept_crops
from medssl.families.grade.config import GradeConfig
from medssl.families.grade.cross_validation import choose_temperatures, write_held_out
from medssl.infer.grade import calibrated, grade_logits
from medssl.methods.method import GradeMethod, GradeTask
from medssl.methods.pretrain.collapse import spread
from medssl.networks.ensemble import Ensemble
from medssl.networks.grader import Grader, build_grader
from medssl.networks.trial import must_be_alike
from medssl.pipeline.folds import networks_of_folds, train_folds
from medssl.pipeline.plan import Job
from medssl.train.checkpoint import save_checkpoint
from medssl.train.distributed import TEAM
from medssl.train.folds import FoldLog
from medssl.train.grade_checkpoint import GradeCheckpoint, load_grade_checkpoint
from medssl.train.loop import Callbacks, Log, Reporter, configure_torch, fit
from medssl.train.track import Tracker


def train(job: Job, tracker: Tracker) -> dict[str, Any]:
    """Train, from the stage's state where there is one.

    Leaves the checkpoints `last` and, with validation images, `best`; the same of each fold of a
    cross-validation in a folder of its own.

    Raises:
        Stopped: a signal asked for it; the same call continues.
        UsageError: the network cannot take the crops, or its weights do not fit.
    """
    plan: GradePlan = job.plan
    pipeline, folder, cohort = plan.config.pipeline, plan.folder("train"), plan.cohort
    configure_torch(pipeline.train.threads, pipeline.train.deterministic)
    predictor = build_method(plan.config).predictor()
    must_be_built_again(predictor, plan.config)
    if isinstance(predictor, Grader) and predictor.report is not None:
        job.reporter.note(f"encoder: {predictor.report}")
    training = Training(plan, job.data, job.reporter)
    if not TEAM.leads:
        for split, place in TEAM.orders("fit"):
            training.fit(Split.from_json(split), Path(place), FoldLog(tracker, None, 0))
        return {}
    steps = [pipeline.train.steps] * len(cohort.folds)
    log = train_folds(job, tracker, cohort.folds, steps, training.fold)
    if job.fold is not None:
        return {}
    temperature = 1.0
    if cohort.folds and not cohort.split.validation:
        temperature = choose_temperatures(folder, len(cohort.folds))
    if cohort.folds and pipeline.split.final == "ensemble":
        training.ensemble(folder, temperature)
    else:
        training.fit(cohort.split, folder, log, temperature)
    tracker.artifact(plan.model if cohort.folds else folder / "checkpoint" / "last", "checkpoint")
    return {}


@dataclass(frozen=True)
class Training:
    """Trains with one split after the other.

    Attributes:
        crops: of all images of the data set, [N, V, S, S] uint8.
    """

    plan: GradePlan
    crops: np.ndarray
    reporter: Reporter

    def fit(self, split: Split, folder: Path, log: Log, temperature: float = 1.0) -> None:
        """Train with a split in a folder, and leave checkpoints.

        Args:
            temperature: where no validation images choose it.
        """
        TEAM.order("fit", split.to_json(), str(folder))
        config = self.plan.config
        method = build_method(config)
        validation = Validation(self.plan, split, self.crops, method.predictor(), temperature)

        def save(kind: str, step: int, metrics: Mapping[str, float]) -> None:
            described = self._described(split, step, metrics, validation.temperature(step), 1)
            save_checkpoint(folder / "checkpoint" / kind, method.predictor(), described)

        fit(
            method,
            grade_streams(self.plan, split, method, kept_crops(self.plan, self.crops)),
            config.pipeline.train,
            config.pipeline.seed,
            folder / "state.pt",
            Callbacks(validation, save, validation.selects),
            self.reporter,
            log,
        )

    def fold(self, split: Split, folder: Path, log: Log) -> None:
        """Train with the split of a fold, and write down its answers to what it leaves out."""
        self.fit(split, folder, log)
        pipeline, cohort = self.plan.config.pipeline, self.plan.cohort
        device = choose_device(pipeline.train.device)
        network = load_grade_checkpoint(folder / "checkpoint" / pipeline.predict.checkpoint)[0]
        places = list(cohort.places(split.test))
        given = network.to(device), self.crops, places, pipeline.predict.batch, device
        write_held_out(folder, grade_logits(*given), split.test, cohort.grades_of(split.test))

    def ensemble(self, folder: Path, temperature: float) -> None:
        """Leave the networks of all folds as one checkpoint."""
        pipeline, split = self.plan.config.pipeline, self.plan.cohort.split
        kind = pipeline.predict.checkpoint
        members = networks_of_folds(self.plan, load_grade_checkpoint)
        joined, step = Ensemble(members).eval(), pipeline.train.steps
        joined.to(choose_device(pipeline.train.device))
        validation = Validation(self.plan, split, self.crops, joined, temperature)
        described = self._described(
            split, step, validation(step), validation.temperature(step), len(members)
        )
        save_checkpoint(folder / "checkpoint" / kind, joined, described)

    def _described(
        self,
        split: Split,
        step: int,
        metrics: Mapping[str, float],
        temperature: float,
        members: int,
    ) -> GradeCheckpoint:
        """All that stands beside the weights."""
        config, pipeline = self.plan.config, self.plan.config.pipeline
        scores = ("score", "kappa", "balanced_accuracy", "log_loss")
        return GradeCheckpoint(
            grades=config.grades,
            preprocess=pipeline.preprocess,
            views=config.picture.views,
            network=pipeline.network,
            temperature=temperature,
            split_hash=split.hash,
            **config.provenance(),
            step=step,
            metrics={name: metrics[name] for name in scores if name in metrics},
            members=members,
            packages=pipeline.network.packages,
        )


def must_be_built_again(predictor: nn.Module, config: GradeConfig) -> None:
    """Refuse what a checkpoint could not build again from its description.

    Raises:
        UsageError: what is built from it has other weights, by name or shape.
    """
    given = config.pipeline.network
    plain = given.model_copy(update={"weights": None})
    described = type(given).model_validate_json(plain.model_dump_json())
    own = build_grader(described, len(config.picture.views), len(config.grades), seed=0)
    advice = "have the method take its network from medssl.networks.grader.build_grader"
    must_be_alike([predictor], own, given.name, advice)


def build_method(config: GradeConfig) -> GradeMethod:
    """The method with freshly initialised networks."""
    pipeline = config.pipeline
    task = GradeTask(
        views=config.picture.views,
        grades=config.grades,
        side=config.picture.side,
        network=pipeline.network,
        augment=pipeline.augment,
    )
    built: GradeMethod = config.build(task)
    return built


def grade_streams(
    plan: GradePlan, split: Split, method: GradeMethod, crops: np.ndarray
) -> dict[str, RadiographStream]:
    """The streams the method asks for.

    The unlabelled one draws from the labelled images too, or from the rest alone, as the method
    says; without a rest, from the labelled images.
    """
    settings, seed = plan.config.pipeline.train, plan.config.pipeline.seed
    labelled, others = plan.cohort.places(split.labelled), plan.cohort.places(split.unlabelled)
    pool = labelled | others if method.unlabelled_pool == "all" else others or labelled
    rest = Rest(plan.config.pipeline.preprocess.rest)
    grades = plan.cohort.grades_of(split.labelled)
    streams = {
        "labelled": RadiographStream(
            "labelled", crops, labelled, grades, settings.batch_labelled, seed, rest
        ),
        "unlabelled": RadiographStream(
            "unlabelled", crops, pool, None, settings.batch_unlabelled, seed, rest
        ),
    }
    return {kind: streams[kind] for kind in method.streams}


class Validation:
    """Agreement on the validation images, and whether answers to unlabelled ones collapse.

    Attributes:
        selects: the score by which the best weights are chosen; None without validation images.
    """

    def __init__(
        self,
        plan: GradePlan,
        split: Split,
        crops: np.ndarray,
        network: nn.Module,
        temperature: float = 1.0,
    ) -> None:
        self._network, self._crops, self._unchosen = network, crops, temperature
        pipeline = plan.config.pipeline
        self._batch = pipeline.predict.batch
        self._device = choose_device(pipeline.train.device)
        self._images = plan.cohort.places(split.validation)
        grades = plan.cohort.grades_of(split.validation)
        self._truth = np.array([grades[name] for name in self._images.values()], np.int64)
        self._watched = list(plan.cohort.places(split.unlabelled))[: pipeline.train.watched]
        self.selects = "score" if self._images else None
        self._kept: tuple[int, np.ndarray] | None = None

    def __call__(self, step: int) -> dict[str, float]:
        """Scores by name, "score" the mean of quadratic kappa and balanced accuracy.

        Beside them, in nats, "pool_entropy" and "pool_information" of the answers to unlabelled
        images; the information is 0 where all of them are answered alike.
        """
        found: dict[str, float] = {}
        if self._images:
            self._kept = step, self._shared(list(self._images))
            found |= agreement(self.logits(step), self._truth)
        if self._watched:
            logits = self._shared(self._watched)
            answers = spread(torch.from_numpy(calibrated(logits, 1.0)))
            found["pool_entropy"] = float(answers.entropy)
            found["pool_information"] = float(answers.information)
        return found

    def logits(self, step: int) -> np.ndarray:
        """[S, K] of the validation images by the weights after `step`."""
        if self._kept is None or self._kept[0] != step:
            self._kept = step, self._answers(list(self._images))
        return self._kept[1]

    def temperature(self, step: int) -> float:
        """What makes those answers most likely; without validation images, as it was given."""
        if not self._images:
            return self._unchosen
        return fit_temperature(self.logits(step), self._truth)

    def _shared(self, places: list[int]) -> np.ndarray:
        """As `_answers`, of which each process gives a part."""
        parts = TEAM.collected(self._answers(list(TEAM.own(places))))
        joined = np.empty((len(places), parts[0].shape[1]), parts[0].dtype)
        for rank, part in enumerate(parts):
            joined[rank :: len(parts)] = part
        return joined

    def _answers(self, places: list[int]) -> np.ndarray:
        network = self._network
        training = network.training
        found = grade_logits(network.eval(), self._crops, places, self._batch, self._device)
        network.train(training)
        return found


def agreement(logits: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Balanced accuracy, quadratic kappa, their mean as "score", and log loss.

    Args:
        logits: [S, K].
        truth: [S] grades; those without an image do not count.
    """
    from sklearn.metrics import log_loss

    from medssl.evaluate.class_metrics import BalancedAccuracy, QuadraticKappa

    predicted, grades = logits.argmax(axis=1), logits.shape[1]
    recall = measured(
        BalancedAccuracy(grades, present=True, sync_on_compute=False), predicted, truth
    )
    kappa = float(
        np.nan_to_num(measured(QuadraticKappa(grades, sync_on_compute=False), predicted, truth))
    )
    return {
        "score": (kappa + recall) / 2,
        "kappa": kappa,
        "balanced_accuracy": recall,
        "log_loss": log_loss(truth, calibrated(logits, 1.0), labels=range(grades)),
    }
