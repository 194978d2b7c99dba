"""The outlines of a mask in one slice, as polygons that any reader fills alike.

An outline runs halfway between voxels that are marked and those that are not, so every marked
centre lies inside. A hole is joined to the outline around it by a channel without width, as the
standard wants it: readers that fill each polygon by itself then see it too.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.spatial import KDTree

_CLEARANCE = 0.1
"""Voxels."""


def outlines(plane: np.ndarray) -> list[np.ndarray]:
    """Polygons of a mask [X, Y]; each [N, 2] in voxels, where (0, 0) is the first centre.

    There is one for each part that hangs together along the axes; the last point is not the first.
    """
    from scipy import ndimage

    parts, count = ndimage.label(plane)
    found = []
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        part = np.pad(parts[box] == number, 1)
        start = np.array([side.start for side in box]) - 1
        found.append(_joined(_rings(part)) + start)
    return found if count else []


def _rings(part: np.ndarray) -> list[np.ndarray]:
    """The outline of one part and those of its holes, the outline first; open."""
    from skimage.measure import find_contours

    rings = [ring[:-1] for ring in find_contours(part.astype(np.float32), 0.5, "low")]
    return sorted(rings, key=_area, reverse=True)


def _area(ring: np.ndarray) -> float:
    x, y = ring.T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))))


def _joined(rings: list[np.ndarray]) -> np.ndarray:
    """One polygon of an outline and holes, the nearest hole first."""
    from scipy.spatial import KDTree

    outline, *holes = rings
    free = np.ones(len(outline), bool)  # segments that are no channel
    apart = [_least(KDTree(outline), hole) for hole in holes]
    while holes:
        nearest = int(np.argmin(apart))
        hole = holes.pop(nearest)
        apart.pop(nearest)
        outline, free = _with_channel(outline, free, hole)
        tree = KDTree(hole)
        apart = [min(before, _least(tree, one)) for before, one in zip(apart, holes, strict=True)]
    return outline


def _least(tree: "KDTree", points: np.ndarray) -> float:
    """The least distance of points to those of the tree."""
    return float(np.min(tree.query(points)[0]))


def _with_channel(
    outline: np.ndarray, free: np.ndarray, hole: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The outline with a hole: a channel leads from the middle of one segment to that of another.

    It is short, and passes no centre of a voxel: readers disagree about points on a line.
    """
    here, there = _middles(outline), _middles(hole)
    lengths = np.linalg.norm(here[:, None] - there[None], axis=2)
    lengths[~free] = np.inf
    order = np.argsort(lengths, axis=None)
    pairs = (np.unravel_index(one, lengths.shape) for one in order.tolist())
    at, to = next((a, b) for a, b in pairs if _clear(here[a], there[b]))
    turned = np.roll(hole, -(int(to) + 1), axis=0)
    channel = np.array([here[at], there[to]])
    joined = [outline[: at + 1], channel, turned, channel[::-1], outline[at + 1 :]]
    ends, inner = np.array([True, False]), np.ones(len(turned) + 1, bool)
    kept = [free[: at + 1], ends[1:], inner, ends[1:], ends[:1], free[at + 1 :]]
    return np.concatenate(joined), np.concatenate(kept)


def _middles(ring: np.ndarray) -> np.ndarray:
    return np.asarray((ring + np.roll(ring, -1, axis=0)) / 2)


def _clear(start: np.ndarray, end: np.ndarray) -> bool:
    """Whether a channel keeps away from all centres of voxels."""
    low, high = np.floor(np.minimum(start, end)), np.ceil(np.maximum(start, end))
    x, y = (np.arange(a, b + 1) for a, b in zip(low, high, strict=True))
    centres = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    way = end - start
    along = np.clip((centres - start) @ way / max(float(way @ way), 1e-12), 0, 1)
    distances = np.linalg.norm(start + along[:, None] * way - centres, axis=1)
    return bool(distances.min() > _CLEARANCE)
