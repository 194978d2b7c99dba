"""Whether a scan is like those that a network was trained on; what is not should not be trusted.

Seven things are measured of each training scan: its voxels, its field of view, the intensities of
the file, those that the network sees (with how rough they are), the layout (where it is bright and
dark, in a few coarse cells), the features of the network's bottleneck, pooled over a few windows,
and the contrast in its middle, see `medssl.infer.contrast`. Each is a point, and how far a scan
lies from the others is its Mahalanobis distance, with the covariance shrunk as Ledoit and Wolf
(2004) do and a tolerance added, so that scans that are all alike allow some difference. The
distances of training scans are those that each has from all the others (leave one out, in closed
form). A scan is as unlike as its most unlike part, and the limit is a quantile of what the training
scans themselves are. Contrast differs least between scanners, so the other parts have to be farther
off to count as much: with few training scans of many scanners, their chance differences would else
drown it.

Source of the features: González et al., Distance-based detection of out-of-distribution silent
failures, Medical Image Analysis 82 (2022).

Legend: N training scans, D numbers of a part.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from medssl.data.quantiles import SHARES
from medssl.infer.scan_traits import CONTRAST, FEATURES, LAYOUT, PARTS, RAW, VIEW, VOXELS

LEAST = 5
"""Training scans below which nothing can be said."""

MOST = 64
"""Training scans that are looked at, spread evenly over all of them."""

FACTOR = math.log(1.5)
"""Tolerance of lengths: the standard deviation of their logarithm that is always allowed."""

CELL = 0.25
"""Tolerance of the layout: standard deviations of a scan's cells that a cell may differ by."""

FINE = 0.02
"""Tolerance of contrast, whose numbers lie between -1 and 1."""

HANDICAP = 4.0
"""Standard deviations by which parts other than contrast must be farther off to score alike, times
the root of the number of training scans: 1 where there are 16, a half where there are 64."""

NARROW = 0.1
"""Least spread of the distances of training scans, on their logarithmic scale."""


@dataclass(frozen=True)
class Verdict:
    """How unlike the training scans a scan is, by what was measured.

    Attributes:
        scores: of contrast 0 is what training scans are on average and 1 a standard deviation
            beyond it; of the others less what `HANDICAP` says.
    """

    scores: Mapping[str, float]

    @property
    def score(self) -> float:
        """That of the most unlike part."""
        return max(self.scores.values())

    def unlike(self, limit: float) -> tuple[str, ...]:
        """The parts beyond the limit, the most unlike first."""
        beyond = [part for part, score in self.scores.items() if score > limit]
        return tuple(sorted(beyond, key=lambda part: -self.scores[part]))

    def to_plain(self) -> dict[str, float]:
        """As values that JSON knows."""
        return {part: round(score, 4) for part, score in self.scores.items()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self | None:
        """Of a record that may hold what `to_plain` gave as "guard"; None where it does not."""
        scores = plain.get("guard")
        return (
            cls({part: float(scores[part]) for part in PARTS if part in scores}) if scores else None
        )


@dataclass(frozen=True)
class Spread:
    """Where training scans lie, in one of the things that are measured.

    Attributes:
        tolerance: what a number may differ by in any case, [D].
        mean: [D], in units of the tolerance.
        precision: inverse of the covariance, [D, D].
        middle: logarithm of 1 + distance that scores 0: the mean over the training scans, or so
            many standard deviations beyond it.
        width: the standard deviation.
    """

    tolerance: np.ndarray
    mean: np.ndarray
    precision: np.ndarray
    middle: float
    width: float

    @classmethod
    def of(
        cls, rows: np.ndarray, tolerance: np.ndarray, handicap: float = 0.0
    ) -> tuple[Self, np.ndarray]:
        """Of the scans [N, D], N at least 3; with the score that each has among the others, [N].

        Args:
            handicap: standard deviations beyond the mean that score 0.
        """
        from sklearn.covariance import ledoit_wolf

        points = rows / tolerance
        mean, count = points.mean(0), len(points)
        covariance, shrinkage = ledoit_wolf(points)
        distances = left_out_distances(points - mean, shrinkage)
        logs = np.log1p(distances)
        width = max(NARROW, float(logs.std(ddof=1)))
        middle = float(logs.mean()) + handicap * width
        precision = np.linalg.inv(covariance * count / (count - 1) + np.eye(len(mean)))
        return cls(tolerance, mean, precision, middle, width), (logs - middle) / width

    def score(self, numbers: np.ndarray) -> float:
        """Of a scan [D]."""
        apart = numbers / self.tolerance - self.mean
        distance = math.sqrt(max(0.0, float(apart @ self.precision @ apart)) / len(apart))
        return (math.log1p(distance) - self.middle) / self.width


def left_out_distances(apart: np.ndarray, shrinkage: float) -> np.ndarray:
    """Distance of each of N points from all others, per root of D, [N].

    The covariance without a point is that of all less a product of one vector, so its inverse
    follows from one that is the same for all (Sherman and Morrison); the shrinkage stays as it is.

    Args:
        apart: the points less their mean, [N, D], in units of the tolerance.
    """
    count, size = apart.shape
    covariance = apart.T @ apart / count
    kept = (1 - shrinkage) * count / (count - 1)
    target = shrinkage * float(np.trace(covariance)) / size * count / (count - 1)
    base = np.linalg.inv(kept * covariance + (target + 1) * np.eye(size))
    along = np.einsum("nd,de,ne->n", apart, base, apart)
    beside = along / np.maximum(1 - kept / (count - 1) * along, 1e-9)
    found: np.ndarray = np.sqrt(beside / size) * count / (count - 1)
    return found


@dataclass(frozen=True)
class Guard:
    """What a checkpoint knows of its training scans.

    Attributes:
        module: name of the bottleneck in the first network.
        spreads: by what is measured.
        scores: of the training scans, each among the others, sorted, [N].
    """

    module: str
    spreads: Mapping[str, Spread]
    scores: np.ndarray

    @classmethod
    def of(cls, module: str, looks: Sequence[Mapping[str, np.ndarray]]) -> Self | None:
        """Of what `look` found in training scans; None of fewer than `LEAST`."""
        if len(looks) < LEAST:
            return None
        spreads, scores = {}, []
        for part in PARTS:
            rows = np.stack([one[part] for one in looks])
            handicap = 0.0 if part == CONTRAST else HANDICAP / math.sqrt(len(looks))
            spreads[part], found = Spread.of(rows, _tolerance(part, rows), handicap)
            scores.append(found)
        return cls(module, spreads, np.sort(np.max(scores, axis=0)))

    def judge(self, found: Mapping[str, np.ndarray]) -> Verdict:
        """Of what `look` found in a scan."""
        return Verdict({part: one.score(found[part]) for part, one in self.spreads.items()})

    def limit(self, rate: float) -> float:
        """The score beyond which a scan is marked.

        Args:
            rate: share of scans like those of training that may be marked.
        """
        return float(self.scores[self._rank(rate) - 1])

    def false_alarms(self, rate: float) -> float:
        """The share that is to be expected: `rate`, or what so few training scans allow."""
        return 1 - self._rank(rate) / (len(self.scores) + 1)

    def false_alarms_at_most(self, rate: float) -> float:
        """What that share does not pass with 95 % certainty, as so few training scans may mislead.

        The share of a population beyond the k-th of N scans is of Beta(N + 1 - k, k).
        """
        from scipy.stats import beta

        rank = self._rank(rate)
        return float(beta.ppf(0.95, len(self.scores) + 1 - rank, rank))

    def _rank(self, rate: float) -> int:
        count = len(self.scores)
        return min(count, math.ceil((count + 1) * (1 - rate)))


def _tolerance(part: str, rows: np.ndarray) -> np.ndarray:
    """What the numbers of a part may differ by in any case, [D]."""
    if part in (VOXELS, VIEW):
        return np.full(rows.shape[1], FACTOR)
    if part == FEATURES:
        return np.full(rows.shape[1], max(1e-6, 0.1 * float(np.median(rows.std(0)))))
    if part == LAYOUT:
        return np.full(rows.shape[1], CELL)
    if part == CONTRAST:
        return np.full(rows.shape[1], FINE)
    if part == RAW:
        return np.full(rows.shape[1], math.log(2))
    channels = rows.shape[1] // (len(SHARES) + 1)
    quantiles = rows[:, :-channels].reshape(len(rows), channels, len(SHARES))
    width = max(1e-6, float(np.median(quantiles[..., 5] - quantiles[..., 1])))
    return np.concatenate([np.full(quantiles[0].size, 0.1 * width), np.full(channels, 0.1)])
