"""The training stage of radiographs: streams, loop, validation, checkpoint."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from medssl.data.radiograph.stream import RadiographStream
from medssl.device import choose_device
from medssl.evaluate.calibration import fit_temperature
from medssl.evaluate.ranking import measured
from medssl.families.grade.cohort import GradePlan
from medssl.families.grade.config import GradeConfig
from medssl.infer.grade import calibrated, grade_logits
from medssl.methods.method import GradeMethod, GradeTask
from medssl.methods.pretrain.collapse import spread
from medssl.networks.grader import Grader
from medssl.pipeline.plan import Job
from medssl.train.checkpoint import DataCard, save_checkpoint
from medssl.train.fingerprint import code_version
from medssl.train.grade_checkpoint import GradeCheckpoint
from medssl.train.loop import Callbacks, configure_torch, fit
from medssl.train.track import Tracker


def train(job: Job, tracker: Tracker) -> dict[str, Any]:
    """Train, from the stage's state where there is one; leaves the checkpoints `last` and `best`.

    Raises:
        Stopped: a signal asked for it; the same call continues.
        UsageError: the network cannot take the crops, or its weights do not fit.
    """
    plan: GradePlan = job.plan
    config, chosen, crops = plan.config, plan.config.pipeline.train, job.data
    folder = plan.folder("train")
    configure_torch(chosen.threads, chosen.deterministic)
    method = build_method(config)
    predictor = method.predictor()
    if isinstance(predictor, Grader) and predictor.report is not None:
        job.reporter.note(f"encoder: {predictor.report}")
    validation = Validation(plan, method, crops)
    fit(
        method,
        grade_streams(plan, method, crops),
        chosen,
        config.pipeline.seed,
        folder / "state.pt",
        Callbacks(validation, _saver(plan, method, validation), validation.selects),
        job.reporter,
        tracker,
    )
    tracker.artifact(folder / "checkpoint" / "last", "checkpoint")
    return {}


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
    plan: GradePlan, method: GradeMethod, crops: np.ndarray
) -> dict[str, RadiographStream]:
    """The streams the method asks for.

    The unlabelled one draws from the labelled images too, or from the rest alone, as the method
    says; without a rest, from the labelled images.
    """
    settings, seed = plan.config.pipeline.train, plan.config.pipeline.seed
    labelled, rest = plan.cohort.places("labelled"), plan.cohort.places("unlabelled")
    pool = labelled | rest if method.unlabelled_pool == "all" else rest or labelled
    grades = plan.cohort.grades_of("labelled")
    streams = {
        "labelled": RadiographStream(
            "labelled", crops, labelled, grades, settings.batch_labelled, seed
        ),
        "unlabelled": RadiographStream(
            "unlabelled", crops, pool, None, settings.batch_unlabelled, seed
        ),
    }
    return {kind: streams[kind] for kind in method.streams}


class Validation:
    """Agreement on the validation images, and whether answers to unlabelled ones collapse.

    Attributes:
        selects: the score by which the best weights are chosen; None without validation images.
    """

    def __init__(self, plan: GradePlan, method: GradeMethod, crops: np.ndarray) -> None:
        self._method, self._crops = method, crops
        pipeline = plan.config.pipeline
        self._batch = pipeline.predict.batch
        self._device = choose_device(pipeline.train.device)
        self._images = plan.cohort.places("validation")
        grades = plan.cohort.grades_of("validation")
        self._truth = np.array([grades[name] for name in self._images.values()], np.int64)
        self._watched = list(plan.cohort.places("unlabelled"))[: pipeline.train.watched]
        self.selects = "score" if self._images else None
        self._kept: tuple[int, np.ndarray] | None = None

    def __call__(self, step: int) -> dict[str, float]:
        """Scores by name, "score" the mean of quadratic kappa and balanced accuracy.

        Beside them, in nats, "pool_entropy" and "pool_information" of the answers to unlabelled
        images; the information is 0 where all of them are answered alike.
        """
        found: dict[str, float] = {}
        if self._images:
            found |= agreement(self.logits(step), self._truth)
        if self._watched:
            logits = self._answers(self._watched)
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
        """What makes those answers most likely; 1 without validation images."""
        return fit_temperature(self.logits(step), self._truth) if self._images else 1.0

    def _answers(self, places: list[int]) -> np.ndarray:
        network = self._method.predictor()
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
    recall = measured(BalancedAccuracy(grades, present=True), predicted, truth)
    kappa = float(np.nan_to_num(measured(QuadraticKappa(grades), predicted, truth)))
    return {
        "score": (kappa + recall) / 2,
        "kappa": kappa,
        "balanced_accuracy": recall,
        "log_loss": log_loss(truth, calibrated(logits, 1.0), labels=range(grades)),
    }


def _saver(
    plan: GradePlan, method: GradeMethod, validation: Validation
) -> Callable[[str, int, Mapping[str, float]], None]:
    """What writes the predictor as checkpoint `last` or `best`, with its temperature."""
    config, pipeline = plan.config, plan.config.pipeline
    scores = ("score", "kappa", "balanced_accuracy", "log_loss")

    def save(kind: str, step: int, metrics: Mapping[str, float]) -> None:
        described = GradeCheckpoint(
            grades=config.grades,
            preprocess=pipeline.preprocess,
            views=config.picture.views,
            network=pipeline.network,
            temperature=validation.temperature(step),
            method=config.method_values(),
            paper=config.method.paper,
            split_hash=plan.cohort.split.hash,
            data=DataCard.of(config.spec),
            code=code_version(),
            step=step,
            metrics={name: metrics[name] for name in scores if name in metrics},
        )
        save_checkpoint(plan.folder("train") / "checkpoint" / kind, method.predictor(), described)

    return save
