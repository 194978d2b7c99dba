"""Resampling between grids that share their field of view, one axis after the other.

Voxel `i` of `n` covers the share i/n to (i+1)/n of the axis; beyond the outermost centres the
border value continues. `linear` equals `torch.nn.functional.interpolate(mode="trilinear",
align_corners=False)`, to rounding, without loading torch in every worker.
"""

from dataclasses import dataclass

import numpy as np

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Taps:
    """For every output voxel of an axis: its two neighbours in the input, and the nearest.

    Attributes:
        weight: float32, of the upper neighbour.
        nearest: the input voxel that holds the output voxel's centre.
    """

    lower: np.ndarray
    upper: np.ndarray
    weight: np.ndarray
    nearest: np.ndarray

    def __len__(self) -> int:
        return len(self.lower)


_SNAP = 1e-4
"""Voxels within which two grids have one field of view: the rest is rounding."""


def taps(length: int, wanted: int, step: float | None = None, shift: float = 0.0) -> Taps:
    """How an axis of `length` voxels is read at `wanted` places.

    Args:
        step: input voxels from one place to the next; None: the field of view stays the same.
        shift: input voxels from the first face of the input to that of the output.
    """
    index = np.arange(wanted)
    same_field = step is None or abs(shift) + abs(step * wanted + shift - length) < _SNAP
    # float32 throughout, as torch computes them: the same labels, tie for tie.
    stride = np.float32(length) / np.float32(max(1, wanted)) if same_field else np.float32(step)
    begin = np.float32(-0.5) if same_field else np.float32(shift - 0.5)
    centre = stride * (index.astype(np.float32) + np.float32(0.5)) + begin
    centre = np.clip(centre, np.float32(0), np.float32(length))
    lower = np.minimum(centre.astype(np.intp), length - 1)
    upper = np.minimum(lower + 1, length - 1)
    weight = centre - lower.astype(np.float32)
    if same_field:
        nearest = (2 * index + 1) * length // (2 * max(1, wanted))
    else:
        nearest = np.where(weight < 0.5, lower, upper)
    return Taps(lower, upper, weight, nearest)


def linear_axis(array: np.ndarray, axis: int, points: Taps) -> np.ndarray:
    """`array`, float32, with `axis` linearly resampled at `points`."""
    if _as_it_is(array.shape[axis], points):
        return array
    order = _memory_order(array)
    if order != sorted(order):
        turned = linear_axis(array.transpose(order), order.index(axis), points)
        return turned.transpose(np.argsort(order))
    weight = points.weight.reshape([-1 if a == axis else 1 for a in range(array.ndim)])
    result = array.take(points.lower, axis)
    result *= 1 - weight
    upper = array.take(points.upper, axis)
    upper *= weight
    result += upper
    return result


def nearest_axis(array: np.ndarray, axis: int, points: Taps) -> np.ndarray:
    """`array` with `axis` read at the voxels that hold the centres of `points`."""
    if _as_it_is(array.shape[axis], points):
        return array
    order = _memory_order(array)
    if order != sorted(order):
        turned = nearest_axis(array.transpose(order), order.index(axis), points)
        return turned.transpose(np.argsort(order))
    taken: np.ndarray = np.take(array, points.nearest, axis)
    return taken


def copy_in_rows(array: np.ndarray, out: np.ndarray) -> None:
    """Copy `array` to `out` [..., Z] in strips; four times faster if their memory order differs."""
    for start in range(0, array.shape[-1], 16):  # one cache line of float32
        out[..., start : start + 16] = array[..., start : start + 16]


def _memory_order(array: np.ndarray) -> list[int]:
    """Axes from slowest to fastest in memory; any other order is up to 20x slower to copy."""
    return sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))


def _as_it_is(length: int, points: Taps) -> bool:
    """Whether an axis of `length` voxels is read voxel for voxel."""
    return len(points) == length and not points.weight.any() and points.nearest[-1] == length - 1
