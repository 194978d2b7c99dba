"""What of a scan's contrast stays from scanner to scanner: who is bright in its middle, and finely.

Only the middle third of each side is looked at, as skin, fat and air around differ more between
scanners than sequences do. Two things are measured there that brightness and contrast do not
change: how the intensities are spread between the darkest and the brightest, and whether fine
structure is brighter or darker than what is around it, at three sizes. Vessels with a contrast
agent are fine and bright; furrows with liquid are fine and dark, more so in T1 than in FLAIR.

Legend: C channels, X Y Z voxels, Q quantiles.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

THIRD = 3
"""The middle of a side is one part of so many."""

SIZES = (3, 5, 9)
"""Voxels of the squares whose means are compared: fine is what a larger one smooths away."""

PLANES = 16
"""Planes that are looked at, spread over the middle."""

SHARES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def contrast(image: np.ndarray, patch: Sequence[int]) -> np.ndarray:
    """Numbers of the middle of a scan, each between -1 and 1, [C * 11] float64.

    Of each channel: five quantiles, 0 the darkest and 1 the brightest hundredth; then for each
    size how far the median of what is that fine lies below the middle of its 5 % and 95 %
    quantiles, beside half their distance, and the same of 1 % and 99 %. Planes lie across the axis
    of the shortest side of `patch` (the last of equals), along which voxels are coarse if anywhere.

    Args:
        image: [C, X, Y, Z]; it may be memory-mapped.
        patch: voxels of a window of the network.
    """
    across = max(axis for axis, side in enumerate(patch) if side == min(patch))
    return np.concatenate([_of_channel(np.moveaxis(one, across, 2)) for one in image])


def _of_channel(image: np.ndarray) -> np.ndarray:
    from scipy.ndimage import uniform_filter

    margin, boxes, inner = max(SIZES) // 2, [], []
    for side in image.shape:
        length = max(1, round(side / THIRD))
        first = (side - length) // 2
        low = max(0, first - margin)
        boxes.append(slice(low, min(side, first + length + margin)))
        inner.append(slice(first - low, first - low + length))
        last = first + length - 1
    planes = np.unique(np.linspace(first, last, PLANES).round().astype(int))
    seen = np.array(image[boxes[0], boxes[1]][:, :, planes], np.float32)
    middle, levels = (inner[0], inner[1]), [seen]
    levels += [uniform_filter(seen, (size, size, 1)) for size in SIZES]
    spread = np.quantile(seen[middle], SHARES)
    numbers = [(spread[1:-1] - spread[0]) / max(float(spread[-1] - spread[0]), 1e-6)]
    for finer, coarser in pairwise(levels):
        fine = np.quantile((finer - coarser)[middle], SHARES)
        numbers += [_leaning(fine[1], fine[3], fine[5]), _leaning(fine[0], fine[3], fine[6])]
    return np.concatenate([np.ravel(one) for one in numbers]).astype(np.float64)


def _leaning(low: float, middle: float, high: float) -> float:
    """Robust skewness after Bowley and Hinkley: 1 where the upper side is all there is."""
    return float((high + low - 2 * middle) / max(high - low, 1e-6))
