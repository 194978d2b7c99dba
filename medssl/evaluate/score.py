"""A score with its bootstrap interval; slides are resampled within their class.

Legend: S slides, K classes, B resamples.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import nan

import numpy as np

from medssl.evaluate.statistics import Interval

_BLOCK = 4_000_000
"""Draws held at once; bounds the memory whatever the number of resamples."""


@dataclass(frozen=True)
class Score:
    """A number with its 95 % interval.

    Attributes:
        value: NaN where it cannot be measured.
        low, high: NaN where there is no interval.
        reason: why `value` or the interval is missing; else empty.
    """

    value: float
    low: float = nan
    high: float = nan
    reason: str = ""


def flat_scores(scores: Mapping[str, Score]) -> dict[str, float]:
    """Numbers for a tracker: "auc", "auc_low", "auc_high", ...; without those missing."""
    numbers: dict[str, float] = {}
    for name, score in scores.items():
        numbers |= {name: score.value, f"{name}_low": score.low, f"{name}_high": score.high}
    return {key: value for key, value in numbers.items() if np.isfinite(value)}


def absent_classes(truth: np.ndarray, classes: int) -> str:
    """Why ranking and recall cannot be measured: which classes no slide has; empty if all occur."""
    missing = np.flatnonzero(np.bincount(truth, minlength=classes) == 0)
    return f"no slide of class {', '.join(map(str, missing))}" if len(missing) else ""


def resamples_within_classes(
    truth: np.ndarray, n: int, generator: np.random.Generator
) -> Iterator[np.ndarray]:
    """Blocks of resamples, each [B, S] indices of slides; `n` rows in all.

    Slides of each class are drawn among themselves and stand in the order of the classes, so the
    classes of every row are `np.sort(truth)`, and no resample lacks a class.
    """
    kinds = [np.flatnonzero(truth == index) for index in np.unique(truth)]
    rows = max(1, _BLOCK // len(truth))
    for start in range(0, n, rows):
        size = min(rows, n - start)
        drawn = [kind[generator.integers(len(kind), size=(size, len(kind)))] for kind in kinds]
        yield np.concatenate(drawn, axis=1)


def bootstrapped(
    measure: Callable[[np.ndarray], np.ndarray],
    truth: np.ndarray,
    n: int,
    generator: np.random.Generator,
) -> Interval:
    """95 % percentile interval of `measure`, which maps indices [B, S] to numbers [B]."""
    blocks = [measure(index) for index in resamples_within_classes(truth, n, generator)]
    low, high = np.quantile(np.concatenate(blocks), (0.025, 0.975))
    return Interval(float(low), float(high))
