"""Scores of classifiers beside those of medssl: of other packages, and of torchmetrics.

Legend: S cases, K classes.
"""

from collections.abc import Callable, Mapping, Sequence
from math import nan
from typing import Any

import numpy as np

from medssl.errors import UsageError
from medssl.evaluate.metric import ClassMetric
from medssl.evaluate.score import Bootstrap, Score, absent_classes
from medssl.evaluate.settings import TORCHMETRICS, Named, from_outside, listed, named


def further_class_scores(
    choices: Sequence[Any],
    probability: np.ndarray,
    predicted: np.ndarray,
    truth: np.ndarray,
    drawn: Bootstrap,
) -> dict[str, Score]:
    """Each metric by its key, with the interval of cases drawn again within their class.

    Of torchmetrics it is the binary form where there are two classes, of the second one: what
    counts classes is given the predicted ones, so the run's own threshold holds, and what ranks is
    given its probability. With more it is the form for several classes, which is given
    probabilities. A class without cases makes every score NaN.

    Args:
        choices: as in `evaluate.metrics`.
        probability: [S, K].
        predicted, truth: [S] class indices.
        drawn: cases drawn again.

    Raises:
        UsageError: a metric fails, e.g. since an argument is beyond its limits.
    """
    found = {}
    for one in map(named, choices):
        try:
            found[one.key] = _score(one, probability, predicted, truth, drawn)
        except Exception as error:
            raise UsageError(
                f"the metric {one.name} fails",
                f"{type(error).__name__}: {error}",
                "correct its arguments, or leave it out of evaluate.metrics",
            ) from error
    return found


def further_rows(scores: Mapping[str, Score]) -> list[tuple[str, Score, str]]:
    """Rows of a report's table: title, score, and an arrow to where it is better."""
    arrows = {True: "↑", False: "↓", None: ""}
    rows = []
    for key, score in scores.items():
        title = key.removeprefix(TORCHMETRICS)
        if title == key:
            metric = from_outside(key, ClassMetric)
            title, better = metric.title, metric.higher_is_better
        else:
            better = listed("classification")[title.partition(" ")[0]]["higher_is_better"]
        rows.append((title, score, arrows[better]))
    return rows


def _score(
    one: Named,
    probability: np.ndarray,
    predicted: np.ndarray,
    truth: np.ndarray,
    drawn: Bootstrap,
) -> Score:
    if reason := absent_classes(truth, probability.shape[1]):
        return Score(nan, reason=reason)
    number = _number(one, probability, predicted, truth)

    def measure(index: np.ndarray) -> np.ndarray:
        return np.array([number(row) for row in index])

    value = float(number(np.arange(len(truth))))
    interval = drawn.interval(measure, truth)
    reason = "" if np.isfinite([value, *interval]).all() else "no number of some draws"
    return Score(value, *interval, reason)


def _number(
    one: Named, probability: np.ndarray, predicted: np.ndarray, truth: np.ndarray
) -> Callable[[np.ndarray], float]:
    """What makes of indices [S] of cases the number of these."""
    if not one.own_name:
        outside = from_outside(one.name, ClassMetric)
        return lambda row: float(outside.measure(probability[row], predicted[row], truth[row]))
    import torch
    from torchmetrics import classification

    classes = probability.shape[1]
    if classes > 2:
        kind = getattr(classification, f"Multiclass{one.own_name}")
        metric = kind(num_classes=classes, **one.arguments)
        given = torch.from_numpy(probability)
    else:
        metric = getattr(classification, f"Binary{one.own_name}")(**one.arguments)
        reads = listed("classification")[one.own_name]["reads"]
        given = torch.from_numpy(predicted if reads == "classes" else probability[:, 1])
    true = torch.from_numpy(truth)

    def number(row: np.ndarray) -> float:
        metric.reset()
        drawn = torch.from_numpy(row)
        metric.update(given[drawn], true[drawn])
        return float(metric.compute())

    return number
