"""From the scores of cases to means with intervals and counts; every case counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np

from medssl.evaluate.metric import MEASURED, Metric
from medssl.evaluate.segmentation import ClassScore
from medssl.evaluate.statistics import bootstrap_interval


@dataclass(frozen=True)
class CaseScores:
    """All foreground classes of one case that its reference outlines, in the data set's order."""

    case: str
    classes: tuple[ClassScore, ...]

    def mean(self, key: str) -> float:
        """Mean of one metric over the classes; it must have been measured."""
        values: list[float | None] = [score.value(key) for score in self.classes]
        return float(np.mean([value for value in values if value is not None]))


@dataclass(frozen=True)
class Mean:
    """A mean over cases and its bootstrap interval, NaN for a single case."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        ends = "" if isnan(self.low) else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.mean:.3f}{ends}"


@dataclass(frozen=True)
class Row:
    """One class, or the mean over classes, over all cases.

    Attributes:
        n: cases; all of them that outline the class, whatever the outcome.
        missed, false_alarms, absent: how many of them by the rule for empty masks (for the mean
            over classes: how many pairs of case and class).
        means: by key of the metric.
        dice: each case's Dice, in the order of the cases.
    """

    name: str
    n: int
    missed: int
    false_alarms: int
    absent: int
    means: dict[str, Mean]
    dice: tuple[float, ...]


@dataclass(frozen=True)
class Summary:
    """Means over cases.

    Attributes:
        metrics: those that were measured.
        classes: a row per class.
        overall: mean over classes within each case, then over cases.
    """

    metrics: tuple[Metric, ...]
    classes: tuple[Row, ...]
    overall: Row

    @property
    def rows(self) -> tuple[Row, ...]:
        """The classes and, where there are several, their mean."""
        return self.classes if len(self.classes) == 1 else (*self.classes, self.overall)

    def flat(self) -> dict[str, float]:
        """Numbers for a tracker: "dice", "dice_low", "dice_high", "missed", "dice/CLASS", ..."""
        numbers: dict[str, float] = {"cases": self.overall.n}
        for row, ending in ((self.overall, ""), *((row, f"/{row.name}") for row in self.classes)):
            numbers[f"missed{ending}"] = row.missed
            numbers[f"false_alarms{ending}"] = row.false_alarms
            for key, mean in row.means.items():
                numbers[f"{key}{ending}"] = mean.mean
                if row.n > 1:
                    numbers[f"{key}_low{ending}"] = mean.low
                    numbers[f"{key}_high{ending}"] = mean.high
        return numbers


def summarise(
    cases: Sequence[CaseScores],
    resamples: int,
    generator: np.random.Generator,
    further: Sequence[Metric] = (),
    folds: np.ndarray | None = None,
) -> Summary:
    """Means, intervals and counts of scored cases.

    Args:
        cases: at least one, each with at least one class.
        resamples: of the bootstrap.
        generator: draws them.
        further: metrics of other packages that were measured.
        folds: which model answered each case, where there are several; intervals then cover that
            their skills differ.

    Raises:
        ValueError: there are no cases.
    """
    if not cases:
        raise ValueError("there are no cases to summarise")
    first = cases[0].classes
    names = dict.fromkeys(
        score.name for case in sorted(cases, key=_fewest) for score in case.classes
    )
    draw = int(generator.integers(2**63))  # the same for all, so that equal columns stay equal
    metrics = (
        *(metric for metric in MEASURED if first[0].value(metric.key) is not None),
        *further,
    )

    def row(name: str, chosen: Sequence[CaseScores], of: np.ndarray | None) -> Row:
        return _row(name, chosen, metrics, (resamples, draw, of))

    def of_class(name: str) -> Row:
        with_it = [
            (place, CaseScores(case.case, (score,)))
            for place, case in enumerate(cases)
            for score in case.classes
            if score.name == name
        ]
        of = None if folds is None else folds[[place for place, _ in with_it]]
        return row(name, [case for _, case in with_it], of)

    classes = tuple(map(of_class, names))
    return Summary(metrics, classes, overall=row("mean of classes", cases, folds))


def _fewest(case: CaseScores) -> int:
    """Sorts cases so that those with the most classes, which are in order, come first."""
    return -len(case.classes)


def _row(
    name: str,
    cases: Sequence[CaseScores],
    metrics: Sequence[Metric],
    how: tuple[int, int, np.ndarray | None],
) -> Row:
    columns = {metric.key: [case.mean(metric.key) for case in cases] for metric in metrics}
    outcomes = [score.outcome for case in cases for score in case.classes]
    return Row(
        name=name,
        n=len(cases),
        missed=outcomes.count("missed"),
        false_alarms=outcomes.count("false_alarm"),
        absent=outcomes.count("absent"),
        means={key: _mean(column, *how) for key, column in columns.items()},
        dice=tuple(columns["dice"]),
    )


def _mean(values: list[float], resamples: int, draw: int, folds: np.ndarray | None) -> Mean:
    interval = bootstrap_interval(values, resamples, np.random.default_rng(draw), folds=folds)
    return Mean(float(np.mean(values)), interval.low, interval.high)


def ranked(cases: Sequence[CaseScores], count: int) -> list[tuple[str, CaseScores]]:
    """Up to `count` cases from best to worst mean Dice, evenly spread, with a word for each.

    Three are the best, the median (of an even number the worse of two) and the worst; one is the
    median, since the best alone would mislead.
    """
    order = sorted(cases, key=lambda case: -case.mean("dice"))
    last = len(order) - 1
    middle = (last + 1) // 2
    count = min(count, len(order))
    ranks = [middle] if count == 1 else [int(r + 0.5) for r in np.linspace(0, last, count)]
    words = {middle: "median", 0: "best", last: "worst"} if last else {0: "only case"}
    return [(words.get(rank, f"rank {rank + 1} of {last + 1}"), order[rank]) for rank in ranks]
