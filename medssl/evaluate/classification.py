"""Scores of slide classifiers: what was right, how well slides are ranked, what probability means.

Legend: S slides, K classes, N tiles of a slide.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Any

import numpy as np

from medssl.evaluate.calibration import BINS, Calibration
from medssl.evaluate.further_classes import further_class_scores
from medssl.evaluate.ranking import area_under_roc, areas, average_precision, measured
from medssl.evaluate.score import Bootstrap, Score, absent_classes, flat_scores


@dataclass(frozen=True)
class SlideScores:
    """All scores of one set of slides.

    Attributes:
        counts: [K] slides of each true class.
        threshold: of the second class, with two classes; None with more (largest probability), or
            where several thresholds were used.
        accuracy, balanced_accuracy: the latter is the mean recall of the classes.
        auc: area under the ROC curve, of the second class with DeLong's interval; with more
            classes the mean of one against the others, with the bootstrap's.
        auc_bootstrap: the same area with the stratified bootstrap's interval.
        average_precision: of the second class; with more classes the mean over classes.
        brier: mean squared error of the probability of the second class (0 to 1); with more
            classes summed over classes (0 to 2).
        ece: expected calibration error; its bins are `calibration`.
        confusion: [K, K] slides, rows are true classes, columns predicted ones.
        further: metrics of torchmetrics and of other packages, by key.
    """

    counts: tuple[int, ...]
    threshold: float | None
    accuracy: Score
    balanced_accuracy: Score
    auc: Score
    auc_bootstrap: Score
    average_precision: Score
    brier: Score
    ece: Score
    calibration: Calibration
    confusion: np.ndarray
    further: Mapping[str, Score] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """How many slides."""
        return sum(self.counts)

    def flat(self) -> dict[str, float]:
        """Numbers for a tracker: "auc", "auc_low", "auc_high", ...; without those missing."""
        numbers: dict[str, float] = {"slides": self.n}
        if self.threshold is not None:
            numbers["threshold"] = self.threshold
        scores: dict[str, Score] = {name: getattr(self, name) for name in SCORES}
        return numbers | flat_scores({**scores, **self.further})


SCORES: Mapping[str, str] = {
    "auc": "AUC",
    "auc_bootstrap": "AUC, bootstrap",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "average_precision": "average precision",
    "brier": "Brier score",
    "ece": "ECE",
}
"""Scores of `SlideScores` and how a table calls them; of the last two, lower is better."""


def predictions(probability: np.ndarray, threshold: float | None = 0.5) -> np.ndarray:
    """[S] class indices: with two classes the second where its probability reaches the threshold.

    Args:
        probability: [S, K].
        threshold: None, or more than two classes, take the largest probability.
    """
    if threshold is None or probability.shape[1] != 2:
        return np.asarray(probability.argmax(axis=1))
    return (probability[:, 1] >= threshold).astype(np.int64)


def choose_threshold(probability: np.ndarray, truth: np.ndarray) -> float:
    """The threshold of the greatest balanced accuracy; give it validation slides only.

    Balanced accuracy is (1 + TPR - FPR) / 2, so this maximises TPR - FPR. A slide is positive
    where its probability reaches the threshold. Candidates are 0, 0.5, and the middle between
    neighbouring probabilities; of equally good ones the nearest to 0.5 is taken, then the lower.

    Args:
        probability: [S] of the positive class, in [0, 1].
        truth: [S], 1 for positive and 0 for negative slides.

    Returns:
        0.5 if all slides are of one class, which tells nothing.
    """
    probability = np.asarray(probability, dtype=np.float64)
    positive = np.asarray(truth).astype(bool)
    own, others = np.sort(probability[positive]), np.sort(probability[~positive])
    if not len(own) or not len(others):
        return 0.5
    values = np.unique(probability)
    candidates = np.unique(np.concatenate([[0.0, 0.5], (values[1:] + values[:-1]) / 2]))
    # Whole numbers, so that ties are ties: TP x negatives - FP x positives.
    reached = len(own) - np.searchsorted(own, candidates)
    wrong = len(others) - np.searchsorted(others, candidates)
    gain = reached * len(others) - wrong * len(own)
    best = candidates[gain == gain.max()]
    return float(best[np.argmin(np.abs(best - 0.5))])


def score_slides(
    probability: np.ndarray,
    truth: np.ndarray,
    resamples: int,
    generator: np.random.Generator,
    threshold: float = 0.5,
    bins: int = BINS,
    predicted: np.ndarray | None = None,
    metrics: Sequence[Any] = (),
    folds: np.ndarray | None = None,
) -> SlideScores:
    """Score a classifier.

    A score that needs slides of several classes is NaN, with the reason, where there is one class.

    Args:
        probability: [S, K], K at least 2, each in [0, 1]; the rows of sigmoid outputs need not sum
            to 1.
        truth: [S] class indices in 0 ... K - 1.
        resamples: of the bootstraps.
        generator: draws them.
        threshold: of the second class, with two classes; see `choose_threshold`.
        bins: of the calibration error.
        predicted: [S] class indices where no one threshold gave them, as over several folds.
        metrics: further ones, as in `evaluate.metrics`.
        folds: [S] which model called a slide, where there are several.

    Raises:
        ValueError: there are no slides, the shapes do not fit, a probability lies outside [0, 1]
            or a class index beyond K.
    """
    from medssl.evaluate.class_metrics import CalibrationError

    probability, truth = checked(probability, truth)
    classes = probability.shape[1]
    one = predicted is None and classes == 2
    predicted = predictions(probability, threshold) if predicted is None else predicted
    right = (predicted == truth).astype(np.float64)
    error = CalibrationError(bins)
    drawn = Bootstrap(resamples, generator, folds)
    auc, auc_bootstrap = areas(probability, truth, drawn)
    return SlideScores(
        counts=tuple(np.bincount(truth, minlength=classes).tolist()),
        threshold=threshold if one else None,
        accuracy=_mean(right, drawn),
        balanced_accuracy=balanced_accuracy(predicted, truth, classes, drawn),
        auc=auc,
        auc_bootstrap=auc_bootstrap,
        average_precision=average_precision(probability, truth, drawn),
        brier=_mean(_squared_errors(probability, truth), drawn),
        ece=Score(measured(error, probability, truth), reason="resampling would bias it upwards"),
        calibration=error.diagram(),
        confusion=confusion_matrix(predicted, truth, classes),
        further=further_class_scores(metrics, probability, predicted, truth, drawn),
    )


def patch_auc(probability: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> Score:
    """Area under the ROC curve over the tiles of all slides pooled.

    Tiles of a slide are not independent, so there is no interval.

    Args:
        probability: for each slide [N], that its tiles show a lesion.
        labels: for each slide [N], whether they do.

    Raises:
        ValueError: a slide has more or fewer labels than probabilities.
    """
    pooled, truth = _pooled(probability, labels)
    if not len(truth) or truth.all() or not truth.any():
        return Score(nan, reason="not both tiles with and tiles without a lesion")
    either = np.stack([1 - pooled, pooled], axis=1)
    return Score(area_under_roc(truth.astype(int), either), reason="tiles are not independent")


def checked(probability: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [S, K] as float64 and class indices [S], checked.

    Raises:
        ValueError: the shapes do not fit, a probability lies outside [0, 1], or a class index
            beyond K.
    """
    probability, truth = np.asarray(probability, dtype=np.float64), np.asarray(truth)
    if probability.ndim != 2 or probability.shape[1] < 2 or not len(probability):
        raise ValueError(f"probabilities of shape {probability.shape} are not [S, K], K over 1")
    if truth.shape != (len(probability),) or truth.dtype.kind not in "iu":
        raise ValueError(f"classes of shape {truth.shape} for {len(probability)} slides")
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("a probability lies outside [0, 1]")
    if truth.min() < 0 or truth.max() >= probability.shape[1]:
        raise ValueError(f"a class lies outside 0 ... {probability.shape[1] - 1}")
    return probability, truth


def _mean(values: np.ndarray, drawn: Bootstrap) -> Score:
    reason = "one slide gives no interval" if len(values) == 1 else ""
    return Score(float(values.mean()), *drawn.of_mean(values), reason)


def _squared_errors(probability: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Brier's error of each slide, [S]."""
    if probability.shape[1] == 2:
        return np.asarray((probability[:, 1] - truth) ** 2)
    hot = np.eye(probability.shape[1])[truth]
    return np.asarray(((probability - hot) ** 2).sum(axis=1))


def balanced_accuracy(
    predicted: np.ndarray, truth: np.ndarray, classes: int, drawn: Bootstrap
) -> Score:
    """Mean recall of the classes.

    Resamples take the mean over slides, each weighted by 1 / slides of its class, which for 2,000
    draws is fifty times as fast as torchmetrics on each (`tests/benchmarks/resamples.py`).

    Args:
        predicted: [S] class indices.
    """
    from medssl.evaluate.class_metrics import BalancedAccuracy

    if reason := absent_classes(truth, classes):
        return Score(nan, reason=reason)
    right = predicted == truth
    weight = 1 / (classes * np.bincount(truth)[truth])  # resamples keep the classes' sizes

    def measure(index: np.ndarray) -> np.ndarray:
        return np.asarray((right * weight)[index].sum(axis=1))

    value = measured(BalancedAccuracy(classes), predicted, truth)
    return Score(value, *drawn.interval(measure, truth))


def confusion_matrix(predicted: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """[K, K] counts; rows are true classes, columns predicted ones."""
    import torch
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    given = torch.as_tensor(predicted), torch.as_tensor(truth)
    return np.asarray(multiclass_confusion_matrix(*given, classes).numpy())


def _pooled(
    probability: Sequence[np.ndarray], labels: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    if [len(values) for values in probability] != [len(values) for values in labels]:
        raise ValueError("the tiles of a slide have more or fewer labels than probabilities")
    if not len(probability):
        return np.empty(0), np.empty(0, dtype=bool)
    return np.concatenate(list(probability)), np.concatenate(list(labels)).astype(bool)
