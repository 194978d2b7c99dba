"""Linear reading of images at other places along one axis, and blurs.

Both are products with banded matrices: on a CPU small products are faster than a convolution.

Legend: C channels.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medssl.data.draws import placed
from medssl.transforms.moves import Size

_STRIP = 16  # places that are made at once


def along(image: Tensor, axis: int, matrix: np.ndarray) -> Tensor:
    """An image, float [...], multiplied by `matrix` [new length, length] along one axis.

    Strips of the matrix read only the voxels that they weigh: most of a band's product is 0.
    """
    weights = placed(matrix.astype(np.float32), image)
    before, after = image.shape[:axis], image.shape[axis + 1 :]
    rows = image.reshape(-1, image.shape[axis], after.numel())
    made = rows.new_empty(len(rows), len(matrix), after.numel())
    for start in range(0, len(matrix), _STRIP):
        places = slice(start, start + _STRIP)
        weighed = np.flatnonzero(matrix[places].any(0))
        read = slice(int(weighed[0]), int(weighed[-1]) + 1) if len(weighed) else slice(0, 1)
        part = weights[places, read]
        if after.numel() == 1:
            torch.mm(rows[:, read, 0], part.T, out=made[:, places, 0])
        else:
            torch.matmul(part, rows[:, read], out=made[:, places])
    return made.reshape(*before, len(matrix), *after)


def blurring(length: int, sigma: float) -> np.ndarray:
    """Matrix [length, length] of a Gaussian blur, cut at three standard deviations.

    `sigma` is in voxels; beyond its ends a line goes on mirrored.
    """
    radius = int(3 * sigma + 0.5)
    places = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (places / sigma) ** 2)
    matrix = np.zeros((length, length))
    period = max(1, 2 * (length - 1))
    for place, weight in zip(places, kernel / kernel.sum(), strict=True):
        read = np.abs(np.arange(length) + place) % period
        np.add.at(matrix, (np.arange(length), np.minimum(read, period - read)), weight)
    return matrix


@dataclass(frozen=True)
class Line:
    """Linear interpolation along one axis: each place lies between two neighbouring voxels.

    Attributes:
        below, above: the neighbours, counted from `first` on.
        weights: float32 [2, length], of both.
        first, used: of the voxels that are read; how many there are.
        start: how many places come before those that `read` gives; they lie outside and are 0.
    """

    below: np.ndarray
    above: np.ndarray
    weights: np.ndarray
    first: int
    used: int
    start: int = 0

    def __len__(self) -> int:
        return len(self.below)

    def read(self, image: Tensor, axis: int) -> Tensor:
        """Float [...] at the places that lie inside; `axis` holds the `used` voxels alone."""
        below, above, *weights = (
            placed(one, image) for one in (self.below, self.above, *self.weights)
        )
        # Voxels are gathered fastest from as few axes as there can be.
        after = image.shape[axis + 1 :].numel()
        rows = image.reshape(-1, self.used, after) if after > 1 else image.reshape(-1, self.used)
        low, high = (one[:, None] if after > 1 else one for one in weights)
        made = rows.index_select(1, below).mul_(low)
        made.addcmul_(rows.index_select(1, above), high)
        return made.reshape(*image.shape[:axis], len(self), *image.shape[axis + 1 :])


def enlarging(length: int, wanted: int) -> Line:
    """Linear interpolation of an axis of `length` voxels to `wanted` ones over the same extent.

    Outside the first and the last voxel's middle the outermost value is repeated.
    """
    places = (np.arange(wanted) + 0.5) * length / wanted - 0.5
    places = np.clip(places, 0, length - 1)
    below = np.floor(places).astype(int)
    weights = np.stack([below + 1 - places, places - below]).astype(np.float32)
    return Line(below, np.minimum(below + 1, length - 1), weights, 0, length)


def reading(length: int, wanted: int, factor: float) -> Line:
    """Linear interpolation at `wanted` places, each `factor` times as far from the middle.

    Outside the `length` voxels there is 0.
    """
    places = factor * (np.arange(wanted) - (wanted - 1) / 2) + (length - 1) / 2
    inside = np.flatnonzero((places > -1) & (places < length))
    places = places[inside]
    below = np.floor(places).astype(int)
    weights = np.stack([below + 1 - places, places - below])
    weights *= np.stack([below >= 0, below < length - 1])
    below, above = np.maximum(below, 0), np.minimum(below + 1, length - 1)
    first = int(below[0])
    used = int(above[-1]) + 1 - first
    return Line(
        below - first, above - first, weights.astype(np.float32), first, used, int(inside[0])
    )


def plain(image: Tensor) -> Tensor:
    """An image without its meta data, with which every step of arithmetic takes longer."""
    return image.as_subclass(Tensor)


def middle(image: Tensor, size: Size) -> Tensor:
    """The middle `size` voxels of [C, ...], filled up with 0 where it has fewer."""
    if tuple(image.shape[1:]) == size:
        return image
    starts = [(have - want) // 2 for have, want in zip(image.shape[1:], size, strict=True)]
    if any(start < 0 for start in starts):
        pads = [amount for start in reversed(starts) for amount in (max(0, -start),) * 2]
        image = torch.nn.functional.pad(image, [one + 1 if one else 0 for one in pads])
        return middle(image, size)
    for axis, (start, want) in enumerate(zip(starts, size, strict=True), 1):
        image = image.narrow(axis, start, want)
    return image
