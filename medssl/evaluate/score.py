"""A score with its bootstrap interval; slides are resampled within their class.

Legend: S slides, K classes, B resamples.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import nan

import numpy as np

from medssl.evaluate.statistics import Interval, bootstrap_interval

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
    truth: np.ndarray, n: int, generator: np.random.Generator, folds: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Blocks of resamples, each [B, S] indices of slides; `n` rows in all.

    Slides of each class are drawn among themselves and stand in the order of the classes, so the
    classes of every row are `np.sort(truth)`, and no resample lacks a class.

    Args:
        folds: [S] which model answered a slide. Where there are several, models are drawn first,
            and then the slides of each class among those of the drawn models; a class that none of
            them has is drawn from all.
    """
    kinds = [np.flatnonzero(truth == index) for index in np.unique(truth)]
    models = np.unique([] if folds is None else folds, return_inverse=True)
    rows = max(1, _BLOCK // len(truth))
    for start in range(0, n, rows):
        size = min(rows, n - start)
        if len(models[0]) < 2:
            drawn = [kind[generator.integers(len(kind), size=(size, len(kind)))] for kind in kinds]
        else:
            times = _times_drawn(len(models[0]), size, generator)
            drawn = [kind[_weighted(times[:, models[1][kind]], generator)] for kind in kinds]
        yield np.concatenate(drawn, axis=1)


def _times_drawn(count: int, rows: int, generator: np.random.Generator) -> np.ndarray:
    """[rows, count] how often each of `count` things is among as many draws."""
    drawn = generator.integers(count, size=(rows, count))
    return np.stack([(drawn == one).sum(axis=1) for one in range(count)], axis=1)


def _weighted(weight: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Column indices [B, N] drawn by the weights [B, N] of their row; evenly where all are 0."""
    weight = np.where(weight.any(axis=1, keepdims=True), weight, 1)
    reach = weight.cumsum(axis=1)
    lot = generator.integers(reach[:, -1:], size=weight.shape)
    # Rows after each other, so that one search serves all.
    before = np.concatenate([[0], reach[:-1, -1].cumsum()])[:, None]
    found = np.searchsorted((reach + before).ravel(), (lot + before).ravel(), side="right")
    columns = weight.shape[1]
    return np.asarray(found.reshape(weight.shape) - np.arange(len(weight))[:, None] * columns)


@dataclass(frozen=True)
class Bootstrap:
    """How slides are drawn again for an interval.

    Attributes:
        draws: how many times.
        generator: draws them.
        folds: [S] which model answered a slide, where there are several.
    """

    draws: int
    generator: np.random.Generator
    folds: np.ndarray | None = None

    def interval(self, measure: Callable[[np.ndarray], np.ndarray], strata: np.ndarray) -> Interval:
        """95 % percentile interval of `measure`, which maps indices [B, S] to numbers [B].

        Args:
            strata: [S] classes within which slides are drawn.
        """
        drawn = resamples_within_classes(strata, self.draws, self.generator, self.folds)
        low, high = np.quantile(np.concatenate([measure(index) for index in drawn]), (0.025, 0.975))
        return Interval(float(low), float(high))

    def of_mean(self, values: np.ndarray) -> Interval:
        """95 % interval of the mean of [S] values, whatever the classes."""
        return bootstrap_interval(values, self.draws, self.generator, folds=self.folds)
