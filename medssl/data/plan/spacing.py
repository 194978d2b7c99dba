"""The voxel size that scans of different ones are brought to.

Source: nnU-Net's default planner; sections 2.1 and 6.3 of the planning sheet.
"""

from collections.abc import Sequence

import numpy as np

THICK = 3.0
"""An axis whose voxels are so many times longer than all others holds slices."""

FINEST = 10
"""Percentile of the distances between slices that is taken where slices are thick."""


def target_spacing(
    spacings: Sequence[Sequence[float]], shapes: Sequence[Sequence[int]]
) -> tuple[float, ...]:
    """The median of each axis, mm; where slices are thick and few, a finer one across them.

    Args:
        spacings: mm along each axis, of each case.
        shapes: voxels along each axis, of each case, after cropping and before resampling.
    """
    sizes = np.median(np.asarray(spacings, float), axis=0)
    voxels = np.median(np.asarray(shapes, float), axis=0)
    axis = int(np.argmax(sizes))
    others = [one for one in range(len(sizes)) if one != axis]
    thick = sizes[axis] > THICK * max(sizes[others])
    if thick and THICK * voxels[axis] < min(voxels[others]):
        finer = float(np.percentile(np.asarray(spacings, float)[:, axis], FINEST))
        within = float(max(sizes[others]))
        sizes[axis] = finer if finer >= within else within + 1e-5
    return tuple(float(one) for one in sizes)


def median_shape(
    spacings: Sequence[Sequence[float]],
    shapes: Sequence[Sequence[int]],
    target: Sequence[float],
) -> tuple[float, ...]:
    """Median over cases of the voxels along each axis once they have the target spacing."""
    ratio = np.asarray(spacings, float) / np.asarray(target, float)
    resampled = np.round(ratio * np.asarray(shapes, float))
    return tuple(float(one) for one in np.median(np.maximum(resampled, 1), axis=0))
