"""Where structures lie: at the same place in all scans, as organs do, or anywhere, as lesions."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

CELLS = 12
"""A scan has so many cells along each axis, whatever its size."""

SETTLED = 0.25
"""Structures of which so much lies over those of other scans keep to their place."""


def place_of(marked: np.ndarray) -> np.ndarray:
    """Share of the marked voxels in each cell, [CELLS, CELLS, CELLS] float32; sums to 1.

    Args:
        marked: [X, Y, Z] bool, with a voxel that is True.
    """
    found = np.argwhere(marked) * CELLS // np.array(marked.shape)
    cells = np.ravel_multi_index(tuple(found.T), (CELLS,) * 3)
    counts = np.bincount(cells, minlength=CELLS**3).reshape((CELLS,) * 3)
    shares: np.ndarray = (counts / counts.sum()).astype(np.float32)
    return shares


def overlap(cases: Sequence[Mapping[int, np.ndarray]]) -> float | None:
    """How much of a structure lies where it does in other scans, 0 to 1; of the label with least.

    Args:
        cases: by label value, what `place_of` says of a case.

    Returns:
        The mean over all pairs of cases; None where no label is in two of them.
    """
    values = {value for case in cases for value in case}
    found = []
    for value in values:
        places = [case[value] for case in cases if value in case]
        pairs = [np.minimum(one, other).sum() for one, other in combinations(places, 2)]
        if pairs:
            found.append(float(np.mean(pairs)))
    return min(found, default=None)
