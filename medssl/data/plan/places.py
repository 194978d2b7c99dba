"""Where structures lie: at the same place in all scans, as organs do, or anywhere, as lesions."""

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations

import numpy as np

CELLS = 12
"""A scan has so many cells along each axis, whatever its size."""

SETTLED = 0.25
"""Structures of which so much lies over those of other scans keep to their place."""

PATIENTS = 4
"""Of fewer nothing is known: two lesions may lie at the same place by chance."""


def places_of(mask: np.ndarray, values: Collection[int]) -> dict[int, np.ndarray]:
    """Share of each label's voxels in each cell of a scan, [CELLS, CELLS, CELLS] float32.

    Args:
        mask: [X, Y, Z] of whole numbers.
        values: of the labels in it.
    """
    where = np.nonzero(np.isin(mask, list(values)))
    marked, sides = mask[where], zip(where, mask.shape, strict=True)
    cells = np.ravel_multi_index([at * CELLS // side for at, side in sides], (CELLS,) * 3)
    found = {}
    for value in values:
        counts = np.bincount(cells[marked == value], minlength=CELLS**3)
        found[value] = (counts / counts.sum()).reshape((CELLS,) * 3).astype(np.float32)
    return found


def overlap(cases: Sequence[tuple[str, Mapping[int, np.ndarray]]]) -> float | None:
    """How much of a structure lies where it does in other patients, of the label with least.

    Args:
        cases: the patient of each, and by label value what `places_of` says.

    Returns:
        The mean over all pairs of cases of two patients, 0 to 1; None where no label is in as many
        as `PATIENTS`.
    """
    found = []
    for value in {value for _, places in cases for value in places}:
        known = [(patient, places[value]) for patient, places in cases if value in places]
        if len({patient for patient, _ in known}) < PATIENTS:
            continue
        pairs = [
            np.minimum(one, other).sum()
            for (patient, one), (another, other) in combinations(known, 2)
            if patient != another
        ]
        found.append(float(np.mean(pairs)))
    return min(found, default=None)
