"""Areas under the ROC and the precision-recall curve of many rankings at once, in float64.

torchmetrics reduces its curves in float32, which errs in the eighth digit, and takes one ranking at
a time: for 2,000 draws of 300 cases it needs about ten times as long
(`tests/benchmarks/resamples.py`).

Legend: B rankings, N cases.
"""

import numpy as np


def roc_areas(values: np.ndarray, own: np.ndarray) -> np.ndarray:
    """[B] areas under the ROC curve, by the sum of the class's ranks (Mann-Whitney).

    Args:
        values: [B, N], higher for the class.
        own: [N] bool, which cases are of the class; NaN where all are, or none is.
    """
    from scipy.stats import rankdata

    count, others = np.count_nonzero(own), np.count_nonzero(~own)
    if not count or not others:
        return np.full(len(values), np.nan)
    ranks = rankdata(values, axis=1)[:, own].sum(axis=1)
    return np.asarray((ranks - count * (count + 1) / 2) / (count * others))


def average_precisions(values: np.ndarray, own: np.ndarray) -> np.ndarray:
    """[B] average precisions; the arguments are those of `roc_areas`.

    That is the mean, over cases of the class, of the precision among all cases with at least
    their value. NaN where no case is of the class.
    """
    from scipy.stats import rankdata

    count = np.count_nonzero(own)
    if not count:
        return np.full(len(values), np.nan)
    above = values.shape[1] + 1 - rankdata(values, axis=1, method="min")[:, own]
    right = count + 1 - rankdata(values[:, own], axis=1, method="min")
    return np.asarray((right / above).mean(axis=1))
