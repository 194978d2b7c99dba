"""Which of many unlabelled examples are enough to learn from, by how alike they are.

Source: Joshi & Mirzasoleiman, Data-efficient contrastive self-supervised learning (SAS), ICML 2023,
as its sheet reads paper and code; Gonzalez 1985 for k-center.

Legend: n examples of one class, E features.
"""

import heapq
from collections.abc import Callable, Mapping
from math import floor
from types import MappingProxyType

import numpy as np
from numpy.random import Generator

SMALL = 10
"""Examples of a class below which it is kept whole."""

Selector = Callable[[np.ndarray, int, Generator], list[int]]
"""From likeness [n, n] in [0, 1], a number and a generator to so many examples, the first best."""


def likeness(rows: np.ndarray) -> np.ndarray:
    """Cosines [n, n] float32 of unit rows [n, E]; negative ones are 0."""
    single = rows.astype(np.float32)
    found: np.ndarray = np.clip(single @ single.T, 0, None)
    return found


def by_row_sum(alike: np.ndarray, count: int, rng: Generator) -> list[int]:
    """Those that are most like all others: what the released code of SAS comes to."""
    found: list[int] = np.argsort(-alike.sum(1), kind="stable")[:count].tolist()
    return found


def by_cut(alike: np.ndarray, count: int, rng: Generator) -> list[int]:
    """SAS as it is meant: greedily, what is like those that are left out and unlike those kept.

    The gain of i is its likeness to all others, less twice that to those kept.
    """
    gains = alike.sum(1) - alike.diagonal()
    found: list[int] = []
    for _ in range(count):
        best = int(gains.argmax())
        found.append(best)
        gains -= 2 * alike[:, best]
        gains[best] = -np.inf
    return found


def by_facility(alike: np.ndarray, count: int, rng: Generator) -> list[int]:
    """Greedily, so that every example has one that is kept and like it (facility location).

    Gains only shrink as more are kept, so they are computed anew for the best alone.
    """
    covered = np.zeros(len(alike), alike.dtype)
    queue = [(-float(alike[i].sum()), i, 0) for i in range(len(alike))]
    heapq.heapify(queue)
    found: list[int] = []
    while len(found) < count:
        _, best, known = heapq.heappop(queue)
        if known < len(found):
            gain = float(np.maximum(alike[best] - covered, 0).sum())
            heapq.heappush(queue, (-gain, best, len(found)))
            continue
        found.append(best)
        covered = np.maximum(covered, alike[best])
    return found


def by_k_center(alike: np.ndarray, count: int, rng: Generator) -> list[int]:
    """Each the farthest from those before; the first is the most central."""
    found = [int(alike.sum(1).argmax())]
    nearest = alike[found[0]].copy()
    while len(found) < count:
        nearest[found[-1]] = np.inf
        found.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, alike[found[-1]])
    return found[:count]


def at_random(alike: np.ndarray, count: int, rng: Generator) -> list[int]:
    """A random choice, the baseline."""
    found: list[int] = rng.permutation(len(alike))[:count].tolist()
    return found


SELECTORS: Mapping[str, Selector] = MappingProxyType(
    {
        "cut": by_cut,
        "rowsum": by_row_sum,
        "facility": by_facility,
        "k_center": by_k_center,
        "random": at_random,
    }
)
"""By name. `cut` and `rowsum` are SAS, the others what it is compared with."""


def select(
    rows: np.ndarray, classes: np.ndarray, fraction: float, selector: str, seed: int
) -> dict[int, float]:
    """A share of every class; examples kept and their scores, the sum of likeness in the class.

    Classes of fewer than `SMALL` are kept whole.

    Args:
        rows: [n, E] of unit length.
        classes: [n] of each example.
        fraction: of each class that is kept, rounded down.
        selector: one of `SELECTORS`.
    """
    found: dict[int, float] = {}
    for number in np.unique(classes):
        members = np.flatnonzero(classes == number)
        alike = likeness(rows[members])
        # Rounded first, as 0.6 of 10 are 6 and not 5.999.
        count = len(members)
        if count >= SMALL:
            count = floor(round(fraction * count, 9))
        rng = np.random.default_rng([seed, int(number)])
        for one in SELECTORS[selector](alike, count, rng):
            found[int(members[one])] = float(alike[one].sum())
    return found
