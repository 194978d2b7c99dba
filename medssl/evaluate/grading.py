"""Scores of graders: agreement with the true grade, detection of disease, calibration.

Source: Semixup (sheet, section 12). Intervals come from images drawn again within their grade,
after the models that graded them where there are several.

Legend: S images, K grades, B resamples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import nan, sqrt
from typing import Any

import numpy as np

from medssl.evaluate.calibration import BINS, Calibration
from medssl.evaluate.classification import balanced_accuracy, checked, confusion_matrix
from medssl.evaluate.further_classes import further_class_scores
from medssl.evaluate.ranking import areas, average_precision, measured
from medssl.evaluate.score import Bootstrap, Score, flat_scores

DISEASE_FROM = 2
"""Index of the first grade with disease: osteoarthritis is Kellgren-Lawrence grade 2 or more."""


@dataclass(frozen=True)
class GradeRow:
    """One true grade.

    Attributes:
        count, predicted: images of the grade, and images given it.
        recall: share of its images that are right.
        precision: share of the images given it that are right; NaN where none is.
        f1: harmonic mean of the two.
        bias: mean of predicted less true grade over its images.
    """

    count: int
    predicted: int
    recall: Score
    precision: float
    f1: float
    bias: float


@dataclass(frozen=True)
class GradeScores:
    """All scores of one set of images.

    Attributes:
        balanced_accuracy: mean recall of the grades.
        standard_error: class-weighted standard error of the balanced accuracy.
        kappa: Cohen's, with quadratic weights.
        mse: of the predicted grade.
        auc: of disease, with DeLong's interval; the score is the sum of the probabilities of the
            grades from `DISEASE_FROM` on.
        auc_bootstrap, average_precision: of the same score, with the bootstrap's interval.
        ece: expected calibration error; its bins are `calibration`.
        confusion: [K, K] images, rows are true grades, columns predicted ones.
        grades: one row per grade.
        further: metrics of torchmetrics and of other packages, by key.
    """

    balanced_accuracy: Score
    standard_error: float
    kappa: Score
    mse: Score
    auc: Score
    auc_bootstrap: Score
    average_precision: Score
    ece: Score
    calibration: Calibration
    confusion: np.ndarray
    grades: tuple[GradeRow, ...]
    further: Mapping[str, Score] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """How many images."""
        return int(self.confusion.sum())

    def flat(self) -> dict[str, float]:
        """Numbers for a tracker: "kappa", "kappa_low", "kappa_high", ...; without those missing."""
        scores: dict[str, Score] = {name: getattr(self, name) for name in SCORES}
        scores |= {"standard_error": Score(self.standard_error), **self.further}
        return {"images": self.n, **flat_scores(scores)}


SCORES = {
    "balanced_accuracy": "balanced accuracy",
    "kappa": "quadratic kappa",
    "mse": "mean squared error",
    "auc": "AUC, disease",
    "auc_bootstrap": "AUC, disease, bootstrap",
    "average_precision": "average precision, disease",
    "ece": "ECE",
}
"""Scores of `GradeScores` and what they are called; MSE and ECE are better lower."""


def score_grades(
    probability: np.ndarray,
    truth: np.ndarray,
    resamples: int,
    generator: np.random.Generator,
    disease_from: int = DISEASE_FROM,
    bins: int = BINS,
    metrics: Sequence[Any] = (),
    folds: np.ndarray | None = None,
) -> GradeScores:
    """Score a grader; its grade is the most likely one.

    A score that needs images of every grade is NaN, with the reason, where one has none.

    Args:
        probability: [S, K].
        truth: [S] grades in 0 ... K - 1.
        resamples: of the bootstraps.
        generator: draws them.
        disease_from: least grade with the disease.
        bins: of the calibration error.
        metrics: further ones, as in `evaluate.metrics`.
        folds: [S] which model graded an image, where there are several; intervals then cover that
            their skills differ.

    Raises:
        ValueError: there are no images, the shapes do not fit, a probability lies outside [0, 1]
            or a grade beyond K.
    """
    from medssl.evaluate.class_metrics import CalibrationError

    probability, truth = checked(probability, truth)
    grades = probability.shape[1]
    predicted = probability.argmax(axis=1)
    drawn = Bootstrap(resamples, generator, folds)
    recall = balanced_accuracy(predicted, truth, grades, drawn)
    sick = (truth >= disease_from).astype(np.int64)
    said = disease_probability(probability, disease_from)
    either = np.stack([1 - said, said], axis=1)
    auc, auc_bootstrap = areas(either, sick, drawn, truth)
    error = CalibrationError(bins)
    return GradeScores(
        balanced_accuracy=recall,
        standard_error=balanced_standard_error(predicted, truth),
        kappa=_kappa(predicted, truth, grades, drawn),
        mse=_mean_square(predicted, truth, drawn),
        auc=auc,
        auc_bootstrap=auc_bootstrap,
        average_precision=average_precision(either, sick, drawn, truth),
        ece=Score(measured(error, probability, truth), reason="resampling would bias it upwards"),
        calibration=error.diagram(),
        confusion=confusion_matrix(predicted, truth, grades),
        grades=grade_table(predicted, truth, grades, drawn),
        further=further_class_scores(metrics, probability, predicted, truth, drawn),
    )


def disease_probability(probability: np.ndarray, disease_from: int = DISEASE_FROM) -> np.ndarray:
    """[S] sum of the probabilities [S, K] of the grades from `disease_from` on, at most 1."""
    return np.asarray(probability[:, disease_from:].sum(axis=1).clip(0, 1))


def grade_table(
    predicted: np.ndarray, truth: np.ndarray, grades: int, drawn: Bootstrap
) -> tuple[GradeRow, ...]:
    """One row for each of the grades, from predicted and true grades [S]."""
    from sklearn.metrics import precision_recall_fscore_support

    precision, _, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=range(grades), zero_division=nan
    )
    rows = []
    for grade in range(grades):
        own = predicted[truth == grade]
        recall = Score(nan, reason=f"no image of grade {grade}")
        if len(own):
            hits = (own == grade).astype(np.float64)
            models = None if drawn.folds is None else drawn.folds[truth == grade]
            recall = Score(float(hits.mean()), *replace(drawn, folds=models).of_mean(hits))
        rows.append(
            GradeRow(
                count=int(support[grade]),
                predicted=int((predicted == grade).sum()),
                recall=recall,
                precision=float(precision[grade]),
                f1=float(f1[grade]),
                bias=float((own - grade).mean()) if len(own) else nan,
            )
        )
    return tuple(rows)


def balanced_standard_error(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Class-weighted standard error of the balanced accuracy, as the authors' script has it.

    w_i = 1 / n of the grade of i; var = N sum w (right - BA)^2 / ((N - 1) sum w); sqrt(var / N).
    NaN with fewer than two images.
    """
    count = len(truth)
    if count < 2:
        return nan
    weight = 1 / np.bincount(truth)[truth]
    right = predicted == truth
    apart = right - np.average(right, weights=weight)
    variance = count * (weight * apart**2).sum() / ((count - 1) * weight.sum())
    return sqrt(variance / count)


def balanced_accuracy_by_fold(
    predicted: np.ndarray, truth: np.ndarray, folds: int, generator: np.random.Generator
) -> np.ndarray:
    """[folds] balanced accuracies of parts of the test set with like shares of the grades.

    Raises:
        ValueError: a grade has fewer images than there are folds.
    """
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import StratifiedKFold

    _, counts = np.unique(truth, return_counts=True)
    if counts.min() < folds:
        raise ValueError(f"a grade has {counts.min()} images, fewer than {folds} folds")
    parts = StratifiedKFold(folds, shuffle=True, random_state=int(generator.integers(2**31)))
    found = [
        balanced_accuracy_score(truth[fold], predicted[fold])
        for _, fold in parts.split(truth[:, None], truth)
    ]
    return np.asarray(found)


def wilcoxon_greater(first: np.ndarray, second: np.ndarray) -> float:
    """P-value of the one-sided paired signed-rank test that `first` is greater; ties are dropped.

    1 where no pair differs.
    """
    from scipy.stats import wilcoxon

    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    if not difference.any():
        return 1.0
    return float(wilcoxon(difference, alternative="greater", zero_method="wilcox").pvalue)


def quadratic_kappa(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Cohen's kappa with quadratic weights of rows of grades, [..., S] each, over the last axis.

    1 - mean (p - t)^2 / (mean p^2 + mean t^2 - 2 mean p mean t): the weighted disagreement over
    that of independent raters with the same margins. NaN where all of both are one grade.

    For resamples, of which it takes many at once: for 2,000 draws it is fifteen times as fast as
    torchmetrics on each (`tests/benchmarks/resamples.py`). `QuadraticKappa` scores one row alone.
    """
    p, t = np.asarray(predicted, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    chance = (p**2).mean(-1) + (t**2).mean(-1) - 2 * p.mean(-1) * t.mean(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(1 - ((p - t) ** 2).mean(-1) / np.where(chance > 0, chance, nan))


def _kappa(predicted: np.ndarray, truth: np.ndarray, grades: int, drawn: Bootstrap) -> Score:
    from medssl.evaluate.class_metrics import QuadraticKappa

    value = measured(QuadraticKappa(grades), predicted, truth)
    if not np.isfinite(value):
        return Score(nan, reason="all images have one grade, and are given it")
    return Score(
        value, *drawn.interval(lambda index: quadratic_kappa(predicted[index], truth[index]), truth)
    )


def _mean_square(predicted: np.ndarray, truth: np.ndarray, drawn: Bootstrap) -> Score:
    errors = (predicted - truth).astype(np.float64) ** 2
    interval = drawn.interval(lambda index: errors[index].mean(axis=1), truth)
    return Score(float(errors.mean()), *interval)
