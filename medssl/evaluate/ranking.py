"""How well probabilities rank slides: areas under the ROC and the precision-recall curve.

Legend: S slides, K classes, B resamples.
"""

from math import nan
from typing import TYPE_CHECKING

import numpy as np

from medssl.evaluate.ranks import average_precisions, roc_areas
from medssl.evaluate.score import Bootstrap, Score, absent_classes
from medssl.evaluate.statistics import Interval

if TYPE_CHECKING:
    from torchmetrics import Metric


def area_under_roc(truth: np.ndarray, probability: np.ndarray) -> float:
    """Area under the ROC curve; NaN if a class is absent.

    With two classes it is that of the second, with more the mean of each against the others.

    Args:
        truth: [S] class indices.
        probability: [S, K].
    """
    from medssl.evaluate.class_metrics import AreaUnderRoc

    return measured(AreaUnderRoc(probability.shape[1], sync_on_compute=False), probability, truth)


def measured(metric: "Metric", given: np.ndarray, truth: np.ndarray) -> float:
    """What a metric says of predictions (probabilities [S, K] or classes [S]) and classes [S]."""
    import torch

    metric.update(torch.as_tensor(given), torch.as_tensor(truth))
    return float(metric.compute())


def areas(
    probability: np.ndarray,
    truth: np.ndarray,
    drawn: Bootstrap,
    strata: np.ndarray | None = None,
) -> tuple[Score, Score]:
    """Area under the ROC curve, with DeLong's interval and with the stratified bootstrap's.

    With two classes it is that of the second; with more the mean of each against the others, for
    which both scores have the bootstrap's interval, as they have where several models answered.

    Args:
        probability: [S, K].
        truth: [S] class indices.
        drawn: slides drawn again.
        strata: [S] groups within which slides are drawn, rising with the class; None: the classes.
    """
    import torch

    from medssl.evaluate.class_metrics import DelongAuroc

    classes = probability.shape[1]
    strata = truth if strata is None else strata
    if reason := absent_classes(truth, classes):
        nothing = Score(nan, reason=reason)
        return nothing, nothing
    value = area_under_roc(truth, probability)
    interval = drawn.interval(lambda index: _resampled_areas(probability, truth, index), strata)
    bootstrap = _area(value, interval)
    if classes > 2 or drawn.folds is not None:
        return bootstrap, bootstrap
    delong = DelongAuroc()
    delong.update(torch.as_tensor(probability[:, 1]), torch.as_tensor(truth))
    area, low, high = delong.compute().tolist()
    return _area(area, Interval(low, high)), bootstrap


def average_precision(
    probability: np.ndarray,
    truth: np.ndarray,
    drawn: Bootstrap,
    strata: np.ndarray | None = None,
) -> Score:
    """Average precision, with the stratified bootstrap's interval.

    With two classes it is that of the second, with more the mean over the classes.

    Precision depends on how many slides have the class, so compare equal sets only. The arguments
    are those of `areas`.
    """
    from medssl.evaluate.class_metrics import AveragePrecision

    classes = probability.shape[1]
    if reason := absent_classes(truth, classes):
        return Score(nan, reason=reason)
    strata = truth if strata is None else strata
    interval = drawn.interval(
        lambda index: _resampled_precisions(probability, truth, index), strata
    )
    return Score(measured(AveragePrecision(classes), probability, truth), *interval)


def _ranked_classes(classes: int) -> list[int]:
    return [1] if classes == 2 else list(range(classes))


def _area(value: float, interval: Interval) -> Score:
    if value in {0.0, 1.0}:
        return Score(value, reason="no interval, as the classes are perfectly parted")
    few = "" if np.isfinite(interval.low) else "no interval, as a class has one slide"
    return Score(value, *interval, few)


def _resampled_areas(probability: np.ndarray, truth: np.ndarray, index: np.ndarray) -> np.ndarray:
    """[B] areas of the resamples [B, S], whose classes are `np.sort(truth)`."""
    ordered, ranked = np.sort(truth), _ranked_classes(probability.shape[1])
    found = [roc_areas(probability[index, k], ordered == k) for k in ranked]
    return np.asarray(np.mean(found, axis=0))


def _resampled_precisions(
    probability: np.ndarray, truth: np.ndarray, index: np.ndarray
) -> np.ndarray:
    """[B] average precisions of the resamples [B, S], whose classes are `np.sort(truth)`."""
    ordered, ranked = np.sort(truth), _ranked_classes(probability.shape[1])
    found = [average_precisions(probability[index, k], ordered == k) for k in ranked]
    return np.asarray(np.mean(found, axis=0))
