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
    """For every output voxel of an axis: its two neighbours and the weight of the upper one."""

    lower: np.ndarray
    upper: np.ndarray
    weight: np.ndarray


def taps(length: int, wanted: int) -> Taps:
    """Linear interpolation of an axis from `length` to `wanted` voxels."""
    # float32 throughout, as torch computes them: the same labels, tie for tie.
    step = np.float32(length) / np.float32(wanted)
    centre = step * (np.arange(wanted, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5)
    centre = np.maximum(centre, np.float32(0))
    lower = np.minimum(centre.astype(np.intp), length - 1)
    upper = np.minimum(lower + 1, length - 1)
    return Taps(lower, upper, centre - lower.astype(np.float32))


def linear_axis(array: np.ndarray, axis: int, wanted: int) -> np.ndarray:
    """`array`, float32, with `axis` linearly resampled to `wanted` voxels."""
    if array.shape[axis] == wanted:
        return array
    order = _memory_order(array)
    if order != sorted(order):
        turned = linear_axis(array.transpose(order), order.index(axis), wanted)
        return turned.transpose(np.argsort(order))
    points = taps(array.shape[axis], wanted)
    weight = points.weight.reshape([wanted if a == axis else 1 for a in range(array.ndim)])
    result = array.take(points.lower, axis)
    result *= 1 - weight
    upper = array.take(points.upper, axis)
    upper *= weight
    result += upper
    return result


def linear(array: np.ndarray, shape: Triple) -> np.ndarray:
    """`array` [X, Y, Z] float32 on `shape` voxels of the same field of view."""
    for axis in (2, 1, 0):
        array = linear_axis(array, axis, shape[axis])
    return array


def nearest_axis(array: np.ndarray, axis: int, wanted: int) -> np.ndarray:
    """`array` with `axis` resampled to `wanted` voxels by taking the one that holds the centre."""
    length = array.shape[axis]
    if length == wanted:
        return array
    order = _memory_order(array)
    if order != sorted(order):
        turned = nearest_axis(array.transpose(order), order.index(axis), wanted)
        return turned.transpose(np.argsort(order))
    centres = (2 * np.arange(wanted) + 1) * length // (2 * wanted)
    taken: np.ndarray = np.take(array, centres, axis)
    return taken


def nearest(array: np.ndarray, shape: Triple) -> np.ndarray:
    """`array` [X, Y, Z] of any type on `shape` voxels of the same field of view."""
    for axis in range(3):
        array = nearest_axis(array, axis, shape[axis])
    return array


def copy_in_rows(array: np.ndarray, out: np.ndarray) -> None:
    """Copy `array` to `out` [..., Z] in strips; four times faster if their memory order differs."""
    for start in range(0, array.shape[-1], 16):  # one cache line of float32
        out[..., start : start + 16] = array[..., start : start + 16]


def _memory_order(array: np.ndarray) -> list[int]:
    """Axes from slowest to fastest in memory; any other order is up to 20x slower to copy."""
    return sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
