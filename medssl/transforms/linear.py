"""Linear reading of images at other places: along one axis, after a rotation, and of classes.

A blur along one axis is a matrix: on a CPU a product with a small one is faster than a convolution.

Legend: C channels, K classes, N voxels.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, pad

from medssl.data.draws import placed
from medssl.data.labels import IGNORED
from medssl.transforms.moves import Size


def along(image: Tensor, axis: int, matrix: np.ndarray) -> Tensor:
    """An image, float [...], multiplied by `matrix` [new length, length] along one axis."""
    weights = placed(matrix.astype(np.float32), image)
    before, after = image.shape[:axis], image.shape[axis + 1 :]
    rows = image.reshape(-1, image.shape[axis], after.numel())
    made = rows[..., 0] @ weights.T if after.numel() == 1 else torch.matmul(weights, rows)
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


_STRIP = 16  # places, of which each reads two voxels: most of a wider product would be 0


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
        if axis == image.ndim - 1:
            return self._products(image)
        shape = [-1 if one == axis else 1 for one in range(image.ndim)]
        below, above, *weights = (
            placed(one, image) for one in (self.below, self.above, *self.weights)
        )
        low, high = (one.reshape(shape) for one in weights)
        made = image.index_select(axis, below).mul_(low)
        return made.addcmul_(image.index_select(axis, above), high)

    def _products(self, image: Tensor) -> Tensor:
        """As `read`, along the last axis, whose voxels are slow to gather: strips of a product."""
        matrix = np.zeros((self.used, len(self)), np.float32)
        for voxels, weights in zip((self.below, self.above), self.weights, strict=True):
            matrix[voxels, np.arange(len(self))] += weights
        by, rows = placed(matrix, image), image.reshape(-1, self.used)
        made = image.new_empty(len(rows), len(self))
        for start in range(0, len(self), _STRIP):
            places = slice(start, min(start + _STRIP, len(self)))
            read = slice(int(self.below[start]), int(self.above[places.stop - 1]) + 1)
            torch.mm(rows[:, read], by[read, places], out=made[:, places])
        return made.reshape(*image.shape[:-1], len(self))


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


PLANES = ((1, 2), (2, 0), (0, 1))
"""The axes that a rotation about the first, second and third axis turns into each other."""


def turn(axes: int, first: int, second: int, angle: float) -> np.ndarray:
    """The rotation matrix that turns `first` towards `second` by so many radians."""
    matrix = np.eye(axes)
    matrix[[first, second], [first, second]] = np.cos(angle)
    matrix[second, first], matrix[first, second] = np.sin(angle), -np.sin(angle)
    return matrix


class Rotation:
    """Linear interpolation at `matrix` @ place, both seen from the middle; 0 outside."""

    def __init__(self, matrix: np.ndarray) -> None:
        self._matrix = matrix

    def __call__(self, image: Tensor, size: Size) -> Tensor:
        """The middle `size` voxels of float [C, ...]."""
        box = self._box(_filled(image), image, size)
        grid = self._grid(image, size, box)
        part = grid_sample(image[None], grid, align_corners=False)[0]
        if part.shape[1:] == size:
            return part
        made = image.new_zeros(len(image), *size)
        made[(slice(None), *box)] = part
        return made

    def classes(self, mask: Tensor, size: Size) -> Tensor:
        """The middle `size` voxels of class indices [1, ...], in their own type.

        Each class is read linearly and the one with the largest share wins, the lowest of equal
        ones. Where all voxels around a place are of one class, that need not be computed. Of masks
        with ignored voxels the nearest voxel is taken: single slices and scribbles would be lost
        between their ignored neighbours; beyond such a mask all is ignored.
        """
        partial = bool((mask == IGNORED).any())
        filled = [slice(0, side) for side in mask.shape[1:]] if partial else _filled(mask)
        box = self._box(filled, mask, size)
        outside = IGNORED if partial else 0
        padded = pad(mask[0][tuple(filled)], (1, 1) * len(size), value=outside)
        places = []
        for axis, (part, side) in enumerate(zip(filled, padded.shape, strict=True)):
            first, *others = (
                term
                for other, term in enumerate(self._terms(axis, size, box, mask))
                if other == axis or self._matrix[axis, other]
            )
            middle_of = (mask.shape[1 + axis] - 1) / 2 - part.start + 1
            places.append(sum(others, first + middle_of).clamp_(0, side - 1))
        made = mask.new_full((1, *size), outside)
        if partial:
            (made[0][tuple(box)],) = _read([padded], [place.round() for place in places])
            return made
        won, between = _read(list(_cells(padded)), places)
        where = tuple(between.nonzero().unbind(1))
        won[where] = _weighed(padded, [one.expand(won.shape)[where] for one in places])
        made[0][tuple(box)] = won
        return made

    def _box(self, filled: list[slice], image: Tensor, size: Size) -> list[slice]:
        """The voxels of the result that read from the box `filled`; all others are 0."""
        low = np.array([part.start for part in filled], float)
        high = np.array([part.stop - 1 for part in filled], float)
        back = np.linalg.inv(self._matrix)
        centre = back @ ((low + high) / 2 - (np.array(image.shape[1:]) - 1) / 2)
        # A voxel is read as far as its neighbours; a hundredth more is for rounding.
        reach = np.abs(back) @ ((high - low) / 2 + 1.01)
        middle_of = (np.array(size) - 1) / 2
        first = np.clip(np.floor(centre - reach + middle_of), 0, np.array(size) - 1).astype(int)
        last = np.clip(np.ceil(centre + reach + middle_of), 0, np.array(size) - 1).astype(int)
        return [slice(int(low), int(high) + 1) for low, high in zip(first, last, strict=True)]

    def _grid(self, image: Tensor, size: Size, box: list[slice]) -> Tensor:
        """Where each voxel of `box` is read, [1, ..., axes], from -1 to 1 between the outer faces.

        The last axis comes first, as grid_sample has it.
        """
        axes = len(size)
        grid = image.new_empty(1, *(one.stop - one.start for one in box), axes)
        for axis, given in enumerate(image.shape[1:]):
            first, *others, last = self._terms(axis, size, box, image, 2 / given)
            torch.add(sum(others, first), last, out=grid[0, ..., -1 - axis])
        return grid

    def _terms(
        self, axis: int, size: Size, box: list[slice], image: Tensor, unit: float = 1
    ) -> list[Tensor]:
        """What the axes of the result add to the place along one of the image, from its middle."""
        found = []
        for other, (side, part) in enumerate(zip(size, box, strict=True)):
            places = unit * self._matrix[axis, other] * (np.arange(side) - (side - 1) / 2)[part]
            shape = [-1 if one == other else 1 for one in range(len(size))]
            term = places.astype(np.float32).reshape(shape)
            found.append(placed(term, image))
        return found


def _filled(image: Tensor) -> list[slice]:
    """The box of [C, ...] outside of which all is 0; one voxel where nothing is filled.

    Masks are 0 in most places, and what is left out there costs nothing. Other devices than a CPU
    are so quick that it is not worth looking for.
    """
    if image.device.type != "cpu":
        return [slice(0, side) for side in image.shape[1:]]
    filled = (image.detach().numpy() != 0).any(0)
    first, last = filled.any(0), filled.any(-1)
    places = [last, first] if filled.ndim == 2 else [last.any(1), last.any(0), first.any(0)]
    ends = [np.flatnonzero(one)[[0, -1]] if one.any() else (0, 0) for one in places]
    return [slice(int(low), int(high) + 1) for low, high in ends]


def _cells(mask: Tensor) -> tuple[Tensor, Tensor]:
    """The least class among the corners of each cell between voxels, and whether they differ."""
    low = high = mask
    for axis in range(mask.ndim):
        last = low.shape[axis] - 1
        low, high = (
            choose(one.narrow(axis, 0, last), one.narrow(axis, 1, last))
            for choose, one in ((torch.minimum, low), (torch.maximum, high))
        )
    return low.contiguous(), low != high


def _read(cells: list[Tensor], places: list[Tensor]) -> list[Tensor]:
    """The values of cells, all of one shape, at places along each axis, which lie inside."""
    found = [
        place.to(torch.int32).clamp_(max=side - 1)
        for place, side in zip(places, cells[0].shape, strict=True)
    ]
    if all(one.numel() == one.shape[axis] for axis, one in enumerate(found)):  # scaled, not turned
        for axis, one in enumerate(found):
            cells = [values.index_select(axis, one.flatten()) for values in cells]
        return cells
    cell = torch.zeros(1, dtype=torch.int32, device=found[0].device)
    for one, side in zip(found, cells[0].shape, strict=True):
        cell = torch.add(one, cell, alpha=side)
    flat = cell.flatten()
    return [values.flatten().index_select(0, flat).reshape(cell.shape) for values in cells]


def _weighed(mask: Tensor, places: list[Tensor]) -> Tensor:
    """The class with the largest share [N] at places [N] along each axis, which lie inside."""
    shares = torch.ones_like(places[0])[None]
    voxels = offsets = torch.zeros(1, dtype=torch.int64, device=mask.device)
    for place, side in zip(places, mask.shape, strict=True):
        below = place.floor().clamp_(max=side - 2)
        above = place - below
        voxels = voxels * side + below.long()
        shares = torch.cat([shares * (1 - above), shares * above])
        offsets = torch.cat([offsets * side, offsets * side + 1])
    corners = mask.take(voxels + offsets[:, None])
    return _largest(corners, shares)


def _largest(corners: Tensor, shares: Tensor) -> Tensor:
    """The class with the largest share among corners [2^axes, N], the lowest of equal ones."""
    classes = 1 + int(corners.amax()) if corners.numel() else 0
    if classes < len(corners):  # class by class is quicker
        largest, won = shares.new_zeros(shares.shape[1]), corners.new_zeros(corners.shape[1])
        for value in range(classes):
            share = (shares * (corners == value)).sum(0)
            won.masked_fill_(share > largest, value)
            torch.maximum(largest, share, out=largest)
        return won
    won = torch.stack([(shares * (corners == one)).sum(0) for one in corners])
    return corners.where(won == won.amax(0), corners.amax(0)).amin(0)


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
