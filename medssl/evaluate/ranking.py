"""How well probabilities rank slides: areas under the ROC and the precision-recall curve.

Legend: S slides, K classes, B resamples.
"""

from math import nan

import numpy as np

from medssl.evaluate.delong import delong_interval
from medssl.evaluate.score import Score, absent_classes, bootstrapped
from medssl.evaluate.statistics import Interval


def area_under_roc(truth: np.ndarray, probability: np.ndarray) -> float:
    """Area under the ROC curve; NaN if a class is absent.

    With two classes it is that of the second, with more the mean of each against the others.

    Args:
        truth: [S] class indices.
        probability: [S, K].
    """
    from sklearn.metrics import roc_auc_score

    classes = probability.shape[1]
    if absent_classes(truth, classes):
        return nan
    ranked = _ranked_classes(classes)
    return float(np.mean([roc_auc_score(truth == k, probability[:, k]) for k in ranked]))


def areas(
    probability: np.ndarray,
    truth: np.ndarray,
    resamples: int,
    generator: np.random.Generator,
    strata: np.ndarray | None = None,
) -> tuple[Score, Score]:
    """Area under the ROC curve, with DeLong's interval and with the stratified bootstrap's.

    With two classes it is that of the second; with more the mean of each against the others, for
    which both scores have the bootstrap's interval.

    Args:
        probability: [S, K].
        truth: [S] class indices.
        resamples: of the bootstrap.
        generator: draws them.
        strata: [S] groups within which slides are drawn, rising with the class; None: the classes.
    """
    classes = probability.shape[1]
    strata = truth if strata is None else strata
    if reason := absent_classes(truth, classes):
        nothing = Score(nan, reason=reason)
        return nothing, nothing
    value = area_under_roc(truth, probability)
    interval = bootstrapped(
        lambda index: _resampled_areas(probability, truth, index), strata, resamples, generator
    )
    bootstrap = _area(value, interval)
    if classes > 2:
        return bootstrap, bootstrap
    return _area(value, delong_interval(probability[:, 1], truth == 1)), bootstrap


def average_precision(
    probability: np.ndarray,
    truth: np.ndarray,
    resamples: int,
    generator: np.random.Generator,
    strata: np.ndarray | None = None,
) -> Score:
    """Average precision, with the stratified bootstrap's interval.

    With two classes it is that of the second, with more the mean over the classes.

    Precision depends on how many slides have the class, so compare equal sets only. The arguments
    are those of `areas`.
    """
    from sklearn.metrics import average_precision_score

    classes = probability.shape[1]
    if reason := absent_classes(truth, classes):
        return Score(nan, reason=reason)
    ranked = _ranked_classes(classes)
    each = [average_precision_score(truth == k, probability[:, k]) for k in ranked]
    strata = truth if strata is None else strata
    interval = bootstrapped(
        lambda index: _resampled_precisions(probability, truth, index), strata, resamples, generator
    )
    return Score(float(np.mean(each)), *interval)


def _ranked_classes(classes: int) -> list[int]:
    return [1] if classes == 2 else list(range(classes))


def _area(value: float, interval: Interval) -> Score:
    if value in {0.0, 1.0}:
        return Score(value, reason="no interval, as the classes are perfectly parted")
    few = "" if np.isfinite(interval.low) else "no interval, as a class has one slide"
    return Score(value, *interval, few)


def _resampled_areas(probability: np.ndarray, truth: np.ndarray, index: np.ndarray) -> np.ndarray:
    """[B] areas of the resamples [B, S], by the sum of the class's ranks (Mann-Whitney)."""
    from scipy.stats import rankdata

    found = []
    ordered = np.sort(truth)
    for k in _ranked_classes(probability.shape[1]):
        own = ordered == k
        count = np.count_nonzero(own)
        ranks = rankdata(probability[index, k], axis=1)[:, own].sum(axis=1)
        found.append((ranks - count * (count + 1) / 2) / (count * np.count_nonzero(~own)))
    return np.asarray(np.mean(found, axis=0))


def _resampled_precisions(
    probability: np.ndarray, truth: np.ndarray, index: np.ndarray
) -> np.ndarray:
    """[B] average precisions of the resamples [B, S].

    That is the mean, over slides of the class, of the precision among all slides with at least
    their probability.
    """
    from scipy.stats import rankdata

    found = []
    ordered = np.sort(truth)
    for k in _ranked_classes(probability.shape[1]):
        own = ordered == k
        drawn = probability[index, k]
        above = drawn.shape[1] + 1 - rankdata(drawn, axis=1, method="min")[:, own]
        right = np.count_nonzero(own) + 1 - rankdata(drawn[:, own], axis=1, method="min")
        found.append((right / above).mean(axis=1))
    return np.asarray(np.mean(found, axis=0))
