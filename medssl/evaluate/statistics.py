"""Uncertainty of a mean over cases, and differences between two methods on the same cases."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

_BLOCK = 10_000_000
"""Draws held at once; bounds the memory whatever the number of resamples."""


class Interval(NamedTuple):
    """A confidence interval; NaN where one value alone gives none."""

    low: float
    high: float


@dataclass(frozen=True)
class PairedDifference:
    """First minus second method over the same cases.

    Attributes:
        mean: of the differences.
        low, high: bootstrap interval of that mean.
        p: two-sided Wilcoxon signed-rank test; 1 if no case differs.
        n: cases.
    """

    mean: float
    low: float
    high: float
    p: float
    n: int


def bootstrap_interval(
    values: Sequence[float] | np.ndarray,
    n: int,
    generator: np.random.Generator,
    level: float = 0.95,
    folds: np.ndarray | None = None,
) -> Interval:
    """Percentile bootstrap interval of the mean, cases drawn with replacement.

    With few cases it is too narrow: at 0.95 it covers the true mean of normal values in about 0.84
    of all samples of 5, 0.91 of 10, 0.93 of 20 and 0.94 of 40.

    Values of several models differ by their model, too, which cases alone do not show: of 40 values
    by 5 models, with deviations of 1 between cases and 0.5 between models, intervals over cases
    cover the mean in 0.77 of all samples, and those over models and cases in 0.92; where models do
    not differ, in 0.94 and 0.98.

    Args:
        values: one number per independent case (average over classes or scans of a patient first).
        n: resamples.
        generator: draws them.
        level: coverage, e.g. 0.95.
        folds: which model answered each case. Where there are several, whose skills differ, models
            are drawn first and then cases of each.

    Raises:
        ValueError: there are no values, or one is not finite: a mean must not drop cases silently.
    """
    array = _finite(values)
    if len(array) == 1:
        return Interval(float("nan"), float("nan"))
    if folds is not None and len(models := np.unique(folds)) > 1:
        means = _means_of_parts([array[folds == one] for one in models], n, generator)
    else:
        means = _means(array, n, generator)
    tail = (1 - level) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return Interval(float(low), float(high))


def _means(array: np.ndarray, n: int, generator: np.random.Generator) -> np.ndarray:
    """[n] means of as many values as there are, drawn with replacement."""
    means = np.empty(n)
    rows = max(1, _BLOCK // len(array))
    for start in range(0, n, rows):
        stop = min(n, start + rows)
        drawn = generator.integers(len(array), size=(stop - start, len(array)))
        means[start:stop] = array[drawn].mean(axis=1)
    return means


def _means_of_parts(
    parts: Sequence[np.ndarray], n: int, generator: np.random.Generator
) -> np.ndarray:
    """[n] means: as many parts as there are are drawn, then as many values of each as it has."""
    sums, counts = np.zeros(n), np.zeros(n)
    for chosen in generator.integers(len(parts), size=(len(parts), n)):
        for number, part in enumerate(parts):
            where = np.flatnonzero(chosen == number)
            drawn = generator.integers(len(part), size=(len(where), len(part)))
            sums[where] += part[drawn].sum(axis=1)
            counts[where] += len(part)
    return sums / counts


def crossed_means(
    tables: Sequence[np.ndarray], n: int, generator: np.random.Generator
) -> np.ndarray:
    """Means of several arms over seeds and items, both drawn with replacement.

    Every draw takes the same items for all arms, and the same seeds for those that have as many:
    these are taken for pairs. With few seeds their part is too small: of three, the variance
    between seeds counts two thirds.

    Args:
        tables: [S, N] of each arm: a row for each seed, the same N items in all.
        n: draws.

    Returns:
        [arms, n].

    Raises:
        ValueError: the arms have no items, or not as many.
    """
    (items,) = {table.shape[1] for table in tables} or {0}
    if not items:
        raise ValueError("a mean needs a list of at least one value")
    chosen = generator.integers(items, size=(n, items))
    seeds = {
        count: generator.integers(count, size=(n, count))
        for count in sorted({len(table) for table in tables})
    }
    means = np.empty((len(tables), n))
    for row, table in enumerate(tables):
        drawn = seeds[len(table)]
        for draw in range(n):
            means[row, draw] = table[drawn[draw]].mean(axis=0)[chosen[draw]].mean()
    return means


def paired_difference(
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray,
    generator: np.random.Generator,
    n: int = 2000,
    level: float = 0.95,
) -> PairedDifference:
    """Compare two methods case by case; `first[i]` and `second[i]` are the same case.

    Raises:
        ValueError: the lengths differ, there are no values, or one is not finite.
    """
    from scipy.stats import wilcoxon

    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} values are not pairs")
    differences = _finite(first) - _finite(second)
    interval = bootstrap_interval(differences, n, generator, level)
    p = float(wilcoxon(differences).pvalue) if differences.any() else 1.0
    return PairedDifference(
        float(differences.mean()), interval.low, interval.high, p, len(differences)
    )


def _finite(values: Sequence[float] | np.ndarray) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError("a mean needs a list of at least one value")
    if not np.isfinite(array).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(array))} values are not finite")
    return array
