"""Scores of classifiers by metrics of torchmetrics that a pipeline names.

Legend: S cases, K classes.
"""

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

import numpy as np

from medssl.errors import UsageError
from medssl.evaluate.score import Bootstrap, Score, absent_classes
from medssl.evaluate.settings import TORCHMETRICS, Named, listed, named


def torchmetrics_scores(
    choices: Sequence[Any],
    probability: np.ndarray,
    predicted: np.ndarray,
    truth: np.ndarray,
    drawn: Bootstrap,
) -> dict[str, Score]:
    """Each metric by its key, with the interval of cases drawn again within their class.

    With two classes it is the binary form, of the second class: what counts classes is given the
    predicted ones, so the run's own threshold holds, and what ranks is given its probability. With
    more it is the form for several classes, which is given probabilities. A class without cases
    makes every score NaN.

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
        except (RuntimeError, TypeError, ValueError) as error:
            raise UsageError(
                f"the metric {one.name} fails",
                str(error),
                "correct its arguments, or leave it out of evaluate.metrics",
            ) from error
    return found


def further_rows(scores: Mapping[str, Score]) -> list[tuple[str, Score, str]]:
    """Rows of a report's table: title, score, and an arrow to where it is better."""
    arrows = {True: "↑", False: "↓", None: ""}
    rows = []
    for key, score in scores.items():
        title = key.removeprefix(TORCHMETRICS)
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
    import torch
    from torchmetrics import classification

    classes = probability.shape[1]
    if reason := absent_classes(truth, classes):
        return Score(nan, reason=reason)
    if classes > 2:
        kind = getattr(classification, f"Multiclass{one.own_name}")
        metric = kind(num_classes=classes, **one.arguments)
        given = torch.from_numpy(probability)
    else:
        metric = getattr(classification, f"Binary{one.own_name}")(**one.arguments)
        reads = listed("classification")[one.own_name]["reads"]
        given = torch.from_numpy(predicted if reads == "classes" else probability[:, 1])
    true = torch.from_numpy(truth)

    def measure(index: np.ndarray) -> np.ndarray:
        values = []
        for row in torch.from_numpy(index):
            metric.reset()
            metric.update(given[row], true[row])
            values.append(float(metric.compute()))
        return np.array(values)

    value = float(measure(np.arange(len(truth))[None])[0])
    interval = drawn.interval(measure, truth)
    reason = "" if np.isfinite([value, *interval]).all() else "no number of some draws"
    return Score(value, *interval, reason)
