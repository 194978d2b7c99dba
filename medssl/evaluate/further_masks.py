"""Metrics of masks beside those of medssl: of other packages, and of torchmetrics."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medssl.errors import UsageError
from medssl.evaluate.metric import Metric
from medssl.evaluate.settings import TORCHMETRICS, Named, from_outside, named
from medssl.evaluate.surface import Spacing


def further_metric(choice: str | Mapping[str, Mapping[str, Any]]) -> Metric:
    """The metric of another package.

    Args:
        choice: its name, or its name with arguments, as in `evaluate.metrics`.

    Raises:
        UsageError: there is none of that key, or it cannot be used.
    """
    one = named(choice)
    return _of_torchmetrics(one) if one.own_name else from_outside(one.name, Metric)


def _of_torchmetrics(one: Named) -> Metric:
    """A metric of torchmetrics, of each class alone, by medssl's rule for empty masks."""

    def measure(prediction: np.ndarray, truth: np.ndarray, mm: Spacing) -> float:
        if not prediction.any() or not truth.any():
            return float(not prediction.any() and not truth.any())
        import torch
        from torchmetrics import segmentation

        fixed = {"num_classes": 2, "include_background": False, "input_format": "index"}
        metric = getattr(segmentation, one.own_name)(**fixed, **one.arguments)
        metric.update(
            *(torch.from_numpy(mask[None].astype(np.int64)) for mask in (prediction, truth))
        )
        return float(metric.compute())

    return Metric(
        one.key,
        one.key.removeprefix(TORCHMETRICS),
        higher_is_better=True,
        meaning=f"{one.own_name} of torchmetrics; 1 where both masks are empty, 0 where one is.",
        measure=measure,
    )


def further_scores(
    metrics: Sequence[Metric], name: str, prediction: np.ndarray, truth: np.ndarray, mm: Spacing
) -> dict[str, float]:
    """Metrics of other packages by key, of one class.

    Args:
        name: of the class.
        prediction: [X, Y, Z] bool.
        truth: the same.
        mm: spacing.

    Raises:
        UsageError: a metric fails, or its number is not finite.
    """
    found = {}
    for metric in metrics:
        try:
            found[metric.key] = _finite(metric, prediction, truth, mm)
        except Exception as error:
            raise UsageError(
                f"the metric '{metric.key}' fails for {name}",
                f"{type(error).__name__}: {error}",
                "correct its package, or leave it out of evaluate.metrics",
            ) from error
    return found


def _finite(metric: Metric, prediction: np.ndarray, truth: np.ndarray, mm: Spacing) -> float:
    if metric.measure is None:
        raise ValueError("it has no function `measure`")
    value = float(metric.measure(prediction, truth, mm))
    if not math.isfinite(value):
        raise ValueError(f"it gives {value}, which is no finite number")
    return value
