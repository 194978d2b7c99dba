"""Distances between the surfaces of two masks, in the definition of the field's published tables.

The surface of a mask is the set of its voxels with at least one of the six face neighbours outside
(the mask XOR its erosion by the 6-neighbour cross); what lies beyond the volume is outside. A
distance runs from the centre of a surface voxel to the nearest centre on the other surface. These
are medpy's definitions (`medpy.metric.binary`, 0.5), and its values, but not its cost: borders are
cropped to the masks, voxels near the other surface are settled by looking at their neighbours, and
the rest asks a KD-tree, where medpy transforms the whole volume for each direction and metric.

Legend: X Y Z voxels of a box around both masks, N surface voxels.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

Spacing = tuple[float, float, float]
Box = tuple[slice, slice, slice]

_REACH = 2
"""How many voxels along each axis neighbours are looked at before the KD-tree is asked."""


ROUNDING = 1e-6
"""mm; five voxels of 0.2 mm are within 1 mm, whatever the last bit of their distance says."""


@dataclass(frozen=True)
class SurfaceDistances:
    """Directed distances between two surfaces, neither of them empty; in no particular order.

    Attributes:
        to_truth: [N] float64, from each surface voxel of the prediction to the true surface.
        to_prediction: [N] float64, from each surface voxel of the truth to the predicted surface.
    """

    to_truth: np.ndarray
    to_prediction: np.ndarray

    def hd95(self) -> float:
        """95th percentile of both directed sets pooled (medpy's `hd95`; not MONAI's maximum)."""
        return float(np.percentile(np.concatenate((self.to_truth, self.to_prediction)), 95))

    def asd(self) -> float:
        """Mean distance from the prediction to the truth, one direction only (medpy's `asd`)."""
        return float(self.to_truth.mean())

    def assd(self) -> float:
        """Mean of both directed sets pooled (medpy's `assd` since 0.5)."""
        return float(np.concatenate((self.to_truth, self.to_prediction)).mean())

    def nsd(self, tolerance: float) -> float:
        """Share of all surface voxels, of both masks, at most `tolerance` from the other surface.

        Surface voxels count alike, as in MONAI's `compute_surface_dice` without subvoxels; the
        authors' own form (Nikolov et al. 2018, arXiv:1809.04430) weights them by surface area.
        """
        limit = tolerance + ROUNDING
        near = np.count_nonzero(self.to_truth <= limit)
        near += np.count_nonzero(self.to_prediction <= limit)
        return near / (len(self.to_truth) + len(self.to_prediction))


def surface_distances(
    prediction: np.ndarray, truth: np.ndarray, spacing: Spacing, flat: bool = False
) -> SurfaceDistances:
    """Distances between the surfaces of two masks.

    Args:
        prediction: [X, Y, Z] bool.
        truth: [X, Y, Z] bool, on the same grid.
        spacing: distance of neighbouring voxels along each axis; its unit is the result's, so mm
            gives mm and (1, 1, 1) gives voxels.
        flat: the masks are of 2-D images, Z is 1, and their surface is their outline.

    Raises:
        ValueError: a mask is empty, so it has no surface.
    """
    predicted, true = (_framed(border(mask, flat)) for mask in (prediction, truth))
    if not predicted.any() or not true.any():
        raise ValueError("an empty mask has no surface")
    shared = int(np.count_nonzero(predicted & true))
    x, y, z = (float(length) for length in spacing)
    return SurfaceDistances(
        to_truth=_directed(predicted & ~true, true, shared, (x, y, z)),
        to_prediction=_directed(true & ~predicted, predicted, shared, (x, y, z)),
    )


def border(mask: np.ndarray, flat: bool = False) -> np.ndarray:
    """Voxels of a boolean mask [X, Y, Z] with a face neighbour outside; boolean, same shape.

    In 2-D images, which are `flat`, there is nothing above and below.
    """
    eroded = mask.copy()
    for axis in range(2 if flat else 3):
        lead = (slice(None),) * axis
        eroded[*lead, 1:] &= mask[*lead, :-1]
        eroded[*lead, :-1] &= mask[*lead, 1:]
        eroded[*lead, :1] = eroded[*lead, -1:] = False
    return np.asarray(mask & ~eroded)


def _framed(mask: np.ndarray) -> np.ndarray:
    """The mask with `_REACH` empty voxels around it; several times cheaper than numpy's pad."""
    framed = np.zeros([length + 2 * _REACH for length in mask.shape], bool)
    framed[_REACH:-_REACH, _REACH:-_REACH, _REACH:-_REACH] = mask
    return framed


def _directed(origin: np.ndarray, target: np.ndarray, shared: int, spacing: Spacing) -> np.ndarray:
    """Distances from `origin` voxels to `target`, after a zero for each voxel of both.

    Both masks are framed, so that no step leaves the array.
    """
    inside = target.ravel()
    strides = np.array(target.strides)
    left = np.flatnonzero(origin)
    distances = [np.zeros(shared)]
    for distance, steps in _shells(spacing):
        if not len(left):
            break
        near = inside[(steps @ strides)[:, None] + left].any(axis=0)
        distances.append(np.full(np.count_nonzero(near), distance))
        left = left[~near]
    if len(left):
        distances.append(_search(left, np.flatnonzero(inside), target.shape, spacing))
    return np.concatenate(distances)


@lru_cache(maxsize=8)
def _shells(spacing: Spacing) -> tuple[tuple[float, np.ndarray], ...]:
    """The nearest neighbours of a voxel: distances, rising, each with its steps [N, 3].

    They end before the first distance that a step of more than `_REACH` voxels could have, so a
    voxel found in none of them is further away than all of them.
    """
    steps = np.array([s for s in product(range(-_REACH, _REACH + 1), repeat=3) if any(s)])
    lengths = np.linalg.norm(steps * spacing, axis=1)
    # Steps of equal length may differ in the last digit.
    shells = (lengths / min(spacing)).round(9)
    return tuple(
        (float(lengths[shells == shell][0]), steps[shells == shell])
        for shell in np.unique(shells[shells < _REACH + 1])
    )


def _search(
    starts: np.ndarray, targets: np.ndarray, shape: tuple[int, ...], spacing: Spacing
) -> np.ndarray:
    """Distance from each start to the nearest target, both as flat indices."""
    from scipy.spatial import cKDTree

    here, there = (
        np.stack(np.unravel_index(index, shape), axis=1) * spacing for index in (starts, targets)
    )
    # Surface voxels form a sheet without clusters: a plain midpoint tree with large leaves is
    # cheaper to build than a balanced one, and to search, most of all from far away.
    tree = cKDTree(there, leafsize=32, balanced_tree=False, compact_nodes=False)
    return np.asarray(tree.query(here)[0])
