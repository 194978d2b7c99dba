"""The metrics `volume_error`, of masks, and `within_one`, of grades."""

import numpy as np

from medssl.evaluate.metric import ClassMetric, Metric


def measure(
    prediction: np.ndarray, truth: np.ndarray, spacing: tuple[float, float, float]
) -> float:
    """|P - T| / max(P, T) of two volumes; 0 if both are empty."""
    predicted, true = int(prediction.sum()), int(truth.sum())
    return abs(predicted - true) / max(predicted, true, 1)


VOLUME_ERROR = Metric(
    "volume_error",
    "Volume error",
    meaning="difference of both volumes over the larger one; 0 where both masks are empty.",
    measure=measure,
)


def share_within_one(probability: np.ndarray, said: np.ndarray, truth: np.ndarray) -> float:
    """Share of cases whose grade is the true one or next to it."""
    return float((abs(said - truth) <= 1).mean())


WITHIN_ONE = ClassMetric("within_one", "Within one grade", share_within_one)
