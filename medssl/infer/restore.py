"""From the network's grid back to the scan's own, voxel for voxel.

Labels are those of resampling the logits of every class linearly to the scan's grid and taking the
argmax, computed plane by plane: never more than a few planes of all classes exist at once. A full
resampled volume of every class, the usual way, costs most of the time and memory of a prediction
(MIC-DKFZ/nnUNet issue 2540). Of regions each is written where its resampled logit is above 0.

Shapes: K classes or regions; x y z network grid; X Y Z source grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from medssl.data.record import Record
from medssl.data.regions import Region
from medssl.data.resample import Taps, linear_axis, nearest_axis

if TYPE_CHECKING:
    import torch


def restore_labels(
    logits: np.ndarray | torch.Tensor, record: Record, regions: Sequence[Region] = ()
) -> np.ndarray:
    """Class indices on the source grid, uint8 [X, Y, Z]; background (0) outside the crop.

    Args:
        logits: [K, x, y, z] of any float type, on any device; probabilities give other labels
            where resampling mixes them, so prefer what the network puts out. Of equal classes the
            first wins.
        record: what preprocessing did.
        regions: that the logits are of, in the order of writing; empty: they are of classes.

    Raises:
        ValueError: if the logits do not lie on the record's network grid.
    """
    _must_fit(tuple(logits.shape[1:]), record)
    labels = np.zeros(record.source.shape, np.uint8)
    if record.orientation is None:
        return _askew_labels(_float32(logits), record, regions)
    inside = record.turned(labels)
    points, *within = (axis.taps for axis in record.axes)
    winner = _Winner((len(within[0]), len(within[1])), regions)
    planes: dict[int, np.ndarray] = {}
    for index in range(len(points)):
        lower, upper = int(points.lower[index]), int(points.upper[index])
        planes = {near: planes[near] for near in {lower, upper} & planes.keys()}
        for near in {lower, upper} - planes.keys():
            planes[near] = _expanded(logits, near, *within)
        inside[index] = winner.between(planes[lower], planes[upper], points.weight[index])
    return labels


def restore_map(array: np.ndarray | torch.Tensor, record: Record) -> np.ndarray:
    """A map [x, y, z] (a probability, an entropy) on the source grid, float32 [X, Y, Z].

    Interpolated linearly; 0 outside the crop.

    Raises:
        ValueError: if the map does not lie on the record's network grid.
    """
    _must_fit(tuple(array.shape), record)
    if record.orientation is None:
        return _askew(_float32(array), record, order=1)
    restored = np.zeros(record.source.shape, np.float32)
    found = _float32(array)
    for axis in (2, 1, 0):
        found = linear_axis(found, axis, record.axes[axis].taps)
    record.turned(restored)[...] = found
    return restored


def restore_classes(labels: np.ndarray, record: Record) -> np.ndarray:
    """Class indices [x, y, z] on the source grid by the nearest voxel, uint8 [X, Y, Z].

    Background (0) outside the crop.

    Raises:
        ValueError: if they do not lie on the record's network grid.
    """
    _must_fit(labels.shape, record)
    if record.orientation is None:
        return _askew(labels, record, order=0)
    restored = np.zeros(record.source.shape, np.uint8)
    found = labels
    for axis in range(3):
        found = nearest_axis(found, axis, record.axes[axis].taps)
    record.turned(restored)[...] = found
    return restored


def _askew(array: np.ndarray, record: Record, order: Literal[0, 1]) -> np.ndarray:
    """`array` [x, y, z] read at every voxel of the source grid, whose axes run another way."""
    from scipy.ndimage import affine_transform

    linear, offset = record.matrix[:3, :3], record.matrix[:3, 3]
    return np.asarray(
        affine_transform(
            array,
            linear,
            offset,
            record.source.shape,
            order=order,
            mode="grid-constant" if record.cut else "nearest",
        )
    )


def _askew_labels(logits: np.ndarray, record: Record, regions: Sequence[Region]) -> np.ndarray:
    """What `restore_labels` returns, made one class after the other."""
    labels = np.zeros(record.source.shape, np.uint8)
    if regions:
        for one, region in zip(logits, regions, strict=True):
            labels[_askew(one, record, order=1) > 0] = region.written
        return labels
    best = _askew(logits[0], record, order=1)
    for index in range(1, len(logits)):
        found = _askew(logits[index], record, order=1)
        labels[found > best] = index
        np.maximum(best, found, out=best)
    return labels


class _Winner:
    """The strongest class of each pixel between two planes; buffers are kept between calls."""

    def __init__(self, shape: tuple[int, int], regions: Sequence[Region]) -> None:
        self._regions = regions
        self._labels = np.empty(shape, np.uint8)
        self._best = np.empty(shape, np.float32)
        self._mixed = np.empty(shape, np.float32)
        self._part = np.empty(shape, np.float32)
        self._better = np.empty(shape, bool)

    def between(self, lower: np.ndarray, upper: np.ndarray, weight: np.float32) -> np.ndarray:
        """Labels where `upper` [K, Y, Z] has `weight` and `lower` the rest; valid until called."""
        self._labels.fill(0)
        for region, below, above in zip(self._regions, lower, upper, strict=False):
            np.greater(self._mix(below, above, weight), 0, out=self._better)
            np.putmask(self._labels, self._better, region.written)
        if self._regions:
            return self._labels
        self._best[...] = self._mix(lower[0], upper[0], weight)
        for index in range(1, len(lower)):
            mixed = self._mix(lower[index], upper[index], weight)
            np.greater(mixed, self._best, out=self._better)
            np.maximum(mixed, self._best, out=self._best)
            np.putmask(self._labels, self._better, index)
        return self._labels

    def _mix(self, lower: np.ndarray, upper: np.ndarray, weight: np.float32) -> np.ndarray:
        if not weight:
            return lower
        np.multiply(lower, 1 - weight, out=self._mixed)
        np.multiply(upper, weight, out=self._part)
        self._mixed += self._part
        return self._mixed


def _expanded(
    logits: np.ndarray | torch.Tensor, index: int, rows: Taps, columns: Taps
) -> np.ndarray:
    """Plane `index` of every class [K, Y, Z], resampled within the plane."""
    plane = np.ascontiguousarray(_float32(logits[:, index]))
    return linear_axis(linear_axis(plane, 2, columns), 1, rows)


def _float32(array: np.ndarray | torch.Tensor) -> np.ndarray:
    if not isinstance(array, np.ndarray):
        array = array.detach().float().cpu().numpy()
    return array.astype(np.float32, copy=False)


def _must_fit(shape: tuple[int, ...], record: Record) -> None:
    if shape != record.network.shape:
        raise ValueError(f"array on {shape}, network grid {record.network.shape}")
