"""Numbers that tell how well a mask fits: what is always measured, and those of other packages."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medssl.errors import UsageError
from medssl.evaluate.settings import TORCHMETRICS, Named, named
from medssl.evaluate.surface import Spacing
from medssl.registry import METRICS


@dataclass(frozen=True)
class Metric:
    """A number of each class of each case, and how it is called and read.

    A package offers one under its key. It is measured where `evaluate.metrics` names it, and
    imported to check that key, so heavy packages are imported inside `measure`.

    Attributes:
        key: its column in scores.csv.
        title: heading of its column in the report.
        unit: what it counts in, e.g. "mm"; empty: it is a share from 0 to 1.
        meaning: for a reader of the report, in one sentence, and what it is for empty masks.
        measure: of the predicted mask, the true mask, both [X, Y, Z] bool on one grid, and the
            spacing in mm; a finite number, also where one or both masks are empty, as no case is
            left out of a mean. None for what medssl itself measures.
    """

    key: str
    title: str
    unit: str = ""
    higher_is_better: bool = False
    meaning: str = ""
    measure: Callable[[np.ndarray, np.ndarray, Spacing], float] | None = None


MEASURED = (
    Metric("dice", "Dice", higher_is_better=True),
    Metric("jaccard", "Jaccard", higher_is_better=True),
    Metric("nsd", "NSD", higher_is_better=True),
    Metric("hd95", "HD95", "mm"),
    Metric("asd", "ASD", "mm"),
    Metric("assd", "ASSD", "mm"),
    Metric("hd95_voxels", "HD95", "voxels"),
    Metric("asd_voxels", "ASD", "voxels"),
)
"""What medssl itself measures, by the attributes of `ClassScore`."""


def further_metric(choice: str | Mapping[str, Mapping[str, Any]]) -> Metric:
    """The metric of another package.

    Args:
        choice: its name, or its name with arguments, as in `evaluate.metrics`.

    Raises:
        UsageError: there is none of that key, or it cannot be used.
    """
    one = named(choice)
    if one.own_name:
        return _of_torchmetrics(one)
    key = one.name
    found = METRICS.find(key, Metric, "evaluate.metrics")
    if found.key != key:
        raise UsageError(
            f"the metric '{key}' of {METRICS.package(key)} cannot be used",
            f"its key is '{found.key}'",
            "correct the package",
        )
    return found


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
