"""Polygons as masks: a voxel is inside where its centre is."""

from collections.abc import Iterable

import numpy as np


def filled(polygon: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Centres inside a polygon, bool [X, Y], by the even-odd rule.

    Args:
        polygon: [N, 2] in voxels, where (0, 0) is the first centre; closed or not.
        shape: of the mask.
    """
    columns, rows = shape
    toggles = np.zeros((columns + 1, rows), bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        low, high = sorted((y0, y1))
        crossed = np.arange(max(0, int(np.ceil(low))), min(rows, int(np.ceil(high))))
        at = x0 + (crossed - y0) * (x1 - x0) / (y1 - y0)
        first = np.clip(np.ceil(at), 0, columns).astype(int)
        toggles[first, crossed] ^= True
    return np.asarray(np.logical_xor.accumulate(toggles, axis=0)[:columns])


def together(polygons: Iterable[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """The mask [X, Y] of all polygons of one structure in one slice.

    One that lies wholly in what those around it mark is a hole, and one in a hole is an island;
    all others add to the mask. What was given twice counts once.
    """
    found = {one.tobytes(): one for one in (filled(polygon, shape) for polygon in polygons)}
    mask = np.zeros(shape, bool)
    for one in sorted(found.values(), key=np.count_nonzero, reverse=True):
        mask = mask & ~one if one.any() and not (one & ~mask).any() else mask | one
    return mask
