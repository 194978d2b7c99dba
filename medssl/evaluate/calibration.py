"""Whether a probability means what it says.

Legend: S slides, K classes, B bins.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

BINS = 15


@dataclass(frozen=True)
class Calibration:
    """Confidence against accuracy, in bins of equal width over [0, 1].

    The confidence of a prediction is the probability of the predicted class: max(p, 1 - p) with
    two classes, the largest of several.

    Attributes:
        count: [B] predictions whose confidence lies in (lower edge, upper edge].
        confidence: [B] their mean confidence; NaN where there are none.
        accuracy: [B] share of them that is right; NaN where there are none.
    """

    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @classmethod
    def of_sums(cls, count: np.ndarray, confidence: np.ndarray, right: np.ndarray) -> Self:
        """From what `bin_sums` gives, of all cases."""
        with np.errstate(invalid="ignore"):
            return cls(count.astype(np.int64), confidence / count, right / count)

    @property
    def error(self) -> float:
        """Expected calibration error: mean |confidence - accuracy|, bins weighted by count."""
        filled = self.count > 0
        gap = np.abs(self.confidence[filled] - self.accuracy[filled])
        return float(np.average(gap, weights=self.count[filled]))


def bin_sums(
    probability: np.ndarray, truth: np.ndarray, bins: int, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each bin [B]: how many predictions, the sum of their confidences, how many are right.

    Args:
        probability: [S, K]; with two classes only the second column is read.
        truth: [S] class indices.
        bins: B.
        threshold: with two classes, of the second class.
    """
    if probability.shape[1] == 2:
        positive = probability[:, 1]
        predicted = (positive >= threshold).astype(np.int64)
        confidence = np.maximum(positive, 1 - positive)
    else:
        predicted, confidence = probability.argmax(axis=1), probability.max(axis=1)
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    return (
        np.bincount(place, minlength=bins),
        np.bincount(place, weights=confidence, minlength=bins),
        np.bincount(place, weights=predicted == truth, minlength=bins),
    )


def fit_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """The T that makes softmax(logits / T) most likely; give it validation images only.

    Guo et al. 2017, ICML. The predicted class stays.

    Args:
        logits: [S, K], or log-probabilities.
        truth: [S] class indices.

    Returns:
        T in [0.05, 20]; at an end where the likelihood still rises there.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    logits = np.asarray(logits, dtype=np.float64)
    own = logits[np.arange(len(truth)), truth]

    def loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float((logsumexp(logits * scale, axis=1) - own * scale).mean())

    bounds = (np.log(0.05), np.log(20))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))
