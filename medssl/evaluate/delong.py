"""The area under the ROC curve with DeLong's variance and interval.

DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44: 837-845, by ranks as in Sun & Xu (2014),
IEEE Signal Processing Letters 21: 1389-1393, in O(n log n).

Legend: C classifiers, S slides, P slides of the class, Q slides of the others.
"""

import math

import numpy as np

from medssl.evaluate.statistics import Interval


def delong_covariance(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Areas of several classifiers and their covariance.

    Args:
        scores: [C, S], higher for the class.
        positive: [S] bool, which slides are of the class; at least two are and two are not.

    Returns:
        [C] areas (ties count half) and [C, C] covariance.

    Raises:
        ValueError: fewer than two slides of one kind.
    """
    from scipy.stats import rankdata

    scores = np.asarray(scores, dtype=np.float64)
    own, others = scores[:, positive], scores[:, ~positive]
    p, q = own.shape[1], others.shape[1]
    if min(p, q) < 2:
        raise ValueError(f"{p} and {q} slides of the two kinds give no variance")
    together = rankdata(np.concatenate([own, others], axis=1), axis=1)
    above = (together[:, :p] - rankdata(own, axis=1)) / q
    below = 1 - (together[:, p:] - rankdata(others, axis=1)) / p
    covariance = np.cov(above).reshape(len(scores), -1) / p
    covariance = covariance + np.cov(below).reshape(len(scores), -1) / q
    return above.mean(axis=1), covariance


def delong_interval(score: np.ndarray, positive: np.ndarray, level: float = 0.95) -> Interval:
    """Confidence interval of an area by the normal approximation, cut to [0, 1].

    NaN where the variance is 0 (the classes are perfectly parted) or cannot be estimated (fewer
    than two slides of a kind): an interval without width would claim certainty.
    """
    positive = np.asarray(positive, dtype=bool)
    if min(positive.sum(), (~positive).sum()) < 2:
        return Interval(math.nan, math.nan)
    area, covariance = delong_covariance(np.asarray(score)[None], positive)
    deviation = math.sqrt(max(0.0, covariance[0, 0]))
    if deviation < 1e-12:
        return Interval(math.nan, math.nan)
    reach = _quantile(level) * deviation
    return Interval(max(0.0, area[0] - reach), min(1.0, area[0] + reach))


def _quantile(level: float) -> float:
    """Quantile of the standard normal that bounds a two-sided interval of this level."""
    from statistics import NormalDist

    return NormalDist().inv_cdf(0.5 + level / 2)
