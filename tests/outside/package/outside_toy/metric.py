"""The metric `volume_error`."""

import numpy as np

from medssl.evaluate.metric import Metric


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
