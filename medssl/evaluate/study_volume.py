"""A scan with its mask and uncertainty, small enough for a page, as text that a browser unpacks.

Axes are turned to left, posterior, superior, as slices are looked at. Bytes are differences along
the first axis (of images), then deflated, then in base 64.

Legend: C channels, X Y Z voxels, x y z those of the page.
"""

import base64
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from medssl.data.geometry import Geometry, Orientation

MOST = 6_000_000
"""Voxels of all channels together; finer scans are averaged over blocks."""

OBLIQUE = 0.2
"""Share of a second direction from which on an axis is marked with two letters."""


def packed(
    image: np.ndarray,
    channels: Sequence[str],
    labels: np.ndarray,
    entropy: np.ndarray | None,
    geometry: Geometry,
    labelled: Sequence[tuple[str, str]],
) -> dict[str, Any]:
    """What the viewer of a page shows, as values that JSON knows.

    Args:
        image: [C, X, Y, Z] float32.
        labels: [X, Y, Z] class indices.
        entropy: [X, Y, Z] in 0..1.
        geometry: the grid of all of them.
        labelled: name and colour of each foreground class.
    """
    grid, turn = geometry.oriented("LPS")
    factors = _factors(grid, len(channels))
    mask = turn.apply(labels).astype(np.uint8)
    shown = _blocks(mask, factors, mean=False)
    unsure = None if entropy is None else _blocks(turn.apply(entropy), factors, mean=True)
    greys = [_grey(turn, channel, mask, factors) for channel in image]
    return {
        "shape": shown.shape,
        "spacing": [step * factor for step, factor in zip(grid.spacing, factors, strict=True)],
        "reduced": factors,
        "letters": None if grid.shape[2] == 1 else [_letters(axis) for axis in grid.directions.T],
        "channels": list(channels),
        "images": [_text(grey, differences=True) for grey in greys],
        "mask": _text(shown),
        "entropy": None
        if unsure is None
        else _text((255 * np.clip(unsure, 0, 1)).astype(np.uint8)),
        "labels": [{"name": name, "colour": colour} for name, colour in labelled],
        "largest": [_fullest(shown > 0, axis) for axis in range(3)],
        "doubtful": None if unsure is None else [_fullest(unsure, axis) for axis in range(3)],
    }


def _factors(grid: Geometry, channels: int) -> list[int]:
    """Voxels that become one, by axis; the finest axes give way first."""
    factors = [1, 1, 1]
    while channels * np.prod([-(-n // f) for n, f in zip(grid.shape, factors, strict=True)]) > MOST:
        wide = [step * f for step, f in zip(grid.spacing, factors, strict=True)]
        free = [axis for axis in range(3) if grid.shape[axis] > factors[axis]]
        factors[min(free, key=lambda axis: wide[axis])] += 1
    return factors


def _blocks(array: np.ndarray, factors: Sequence[int], mean: bool) -> np.ndarray:
    """The mean of each block, or the voxel in its middle."""
    if not mean:
        middle = tuple(
            slice(min(f // 2, n - 1), None, f) for n, f in zip(array.shape, factors, strict=True)
        )
        whole = [(0, -n % f) for n, f in zip(array.shape, factors, strict=True)]
        padded: np.ndarray = np.pad(array, whole, mode="edge")[middle]
        return padded
    found: np.ndarray = array
    for axis, factor in enumerate(factors):
        if factor > 1:
            starts = np.arange(0, found.shape[axis], factor)
            sums = np.add.reduceat(found, starts, axis=axis, dtype=np.float32)
            sizes = np.diff([*starts, found.shape[axis]])
            sides = [-1 if a == axis else 1 for a in range(3)]
            found = sums / sizes.reshape(sides)
    return found


def _grey(
    turn: Orientation, channel: np.ndarray, mask: np.ndarray, factors: Sequence[int]
) -> np.ndarray:
    """0 to 255, between what is dark and bright in the mask's neighbourhood."""
    turned = turn.apply(channel)
    near = turned[_around(mask)] if mask.any() else turned
    step = max(1, near.size // 200_000)
    low, high = np.percentile(near.reshape(-1)[::step], (0.5, 99.5))
    small = _blocks(turned, factors, mean=True)
    scaled = np.clip((small - low) / max(float(high - low), 1e-6), 0, 1)
    return np.asarray(255 * scaled).astype(np.uint8)


def _around(mask: np.ndarray) -> tuple[slice, ...]:
    """A box around the mask, three times as long."""
    box = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        found = np.flatnonzero(mask.any(axis=others))
        margin = found[-1] - found[0] + 1
        box.append(slice(max(0, found[0] - margin), found[-1] + margin + 1))
    return tuple(box)


def _letters(direction: np.ndarray) -> list[str]:
    """Where an axis begins and ends in the patient, e.g. ["R", "L"], from its direction in RAS+."""
    order = [axis for axis in np.argsort(-np.abs(direction)) if abs(direction[axis]) > OBLIQUE]
    ends = [("LPI"[axis], "RAS"[axis])[:: 1 if direction[axis] > 0 else -1] for axis in order]
    return ["".join(one[0] for one in ends), "".join(one[1] for one in ends)]


def _fullest(where: np.ndarray, axis: int) -> int:
    """The slice with most of it; the middle one where there is nothing."""
    sums = where.sum(axis=tuple(a for a in range(3) if a != axis))
    return int(sums.argmax()) if sums.any() else where.shape[axis] // 2


def _text(array: np.ndarray, differences: bool = False) -> str:
    """Bytes in the order x fastest, z slowest."""
    rows = np.ascontiguousarray(array.transpose(2, 1, 0))
    if differences:
        rows = np.diff(rows, axis=2, prepend=np.zeros_like(rows[..., :1]))  # modulo 256
    return base64.b64encode(zlib.compress(rows.tobytes(), 9)).decode("ascii")
