"""Linear reading of images at other places: along one axis, after a rotation, and of classes.

What works along one axis is a matrix: on a CPU a product with a small one is faster than a
convolution or a gathering of voxels.

Legend: C channels, K classes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from medssl.transforms.moves import Size

Sampler = Callable[[Tensor], Tensor]
"""What reads float32 [C, ...] at other places."""


def along(image: Tensor, axis: int, matrix: np.ndarray) -> Tensor:
    """Float [...] with `matrix` [new length, length] applied along one axis."""
    weights = torch.from_numpy(matrix.astype(np.float32)).to(image.device)
    before, after = image.shape[:axis], image.shape[axis + 1 :]
    rows = image.reshape(-1, image.shape[axis], after.numel())
    made = rows[..., 0] @ weights.T if after.numel() == 1 else torch.matmul(weights, rows)
    return made.reshape(*before, len(matrix), *after)


def blurring(length: int, sigma: float) -> np.ndarray:
    """A Gaussian of three standard deviations; a line goes on mirrored beyond its ends."""
    radius = int(3 * sigma + 0.5)
    places = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (places / sigma) ** 2)
    matrix = np.zeros((length, length))
    period = max(1, 2 * (length - 1))
    for place, weight in zip(places, kernel / kernel.sum(), strict=True):
        read = np.abs(np.arange(length) + place) % period
        np.add.at(matrix, (np.arange(length), np.minimum(read, period - read)), weight)
    return matrix


def enlarging(length: int, wanted: int) -> np.ndarray:
    """Linear reading of fewer voxels that fill the same line; beyond their middles it goes on."""
    places = (np.arange(wanted) + 0.5) * length / wanted - 0.5
    places = np.clip(places, 0, length - 1)
    below, rows = np.floor(places).astype(int), np.arange(wanted)
    matrix = np.zeros((wanted, length))
    matrix[rows, below] = below + 1 - places
    matrix[rows, np.minimum(below + 1, length - 1)] += places - below
    return matrix


def reading(length: int, wanted: int, factor: float) -> np.ndarray:
    """Linear reading at `factor` times the place seen from the middle; 0 outside."""
    places = factor * (np.arange(wanted) - (wanted - 1) / 2) + (length - 1) / 2
    below = np.floor(places).astype(int)
    matrix = np.zeros((wanted, length))
    for index, weight in ((below, below + 1 - places), (below + 1, places - below)):
        inside = (index >= 0) & (index < length)
        matrix[np.arange(wanted)[inside], index[inside]] += weight[inside]
    return matrix


PLANES = ((1, 2), (2, 0), (0, 1))
"""The axes that a rotation about the first, second and third axis turns into each other."""


def turn(axes: int, first: int, second: int, angle: float) -> np.ndarray:
    """The rotation matrix that turns `first` towards `second` by so many radians."""
    matrix = np.eye(axes)
    matrix[[first, second], [first, second]] = np.cos(angle)
    matrix[second, first], matrix[first, second] = np.sin(angle), -np.sin(angle)
    return matrix


class Rotation:
    """Reads float [C, ...] linearly at `matrix` @ place, both seen from the middle; 0 outside."""

    def __init__(self, matrix: np.ndarray) -> None:
        self._matrix = matrix
        self._grids: dict[tuple[Any, ...], Tensor] = {}

    def __call__(self, image: Tensor, size: Size) -> Tensor:
        """The middle `size` voxels."""
        key = (*image.shape[1:], image.device)
        if key not in self._grids:
            self._grids[key] = self._grid(image, size)
        box = self._box(image, size)
        grid = self._grids[key][(slice(None), *box)]
        part = grid_sample(image[None], grid, align_corners=False)[0]
        if part.shape[1:] == size:
            return part
        made = image.new_zeros(len(image), *size)
        made[(slice(None), *box)] = part
        return made

    def _box(self, image: Tensor, size: Size) -> list[slice]:
        """The voxels of the result that may not be 0: those that read from the box of the others.

        Masks are 0 in most places, and what is left out there costs nothing. Other devices than a
        CPU are so quick that it is not worth looking for.
        """
        if image.device.type != "cpu":
            return [slice(None)] * len(size)
        filled = (image.detach().numpy() != 0).any(0)
        first, last = filled.any(0), filled.any(-1)
        places = [last, first] if len(size) == 2 else [last.any(1), last.any(0), first.any(0)]
        ends = [np.flatnonzero(one)[[0, -1]] for one in places if one.any()]
        if len(ends) < len(size):
            return [slice(0, 1)] * len(size)
        low, high = np.array(ends, dtype=float).T
        back = np.linalg.inv(self._matrix)
        centre = back @ ((low + high) / 2 - (np.array(filled.shape) - 1) / 2)
        # A voxel is read as far as its neighbours; a hundredth more is for rounding.
        reach = np.abs(back) @ ((high - low) / 2 + 1.01)
        middle_of = (np.array(size) - 1) / 2
        first = np.clip(np.floor(centre - reach + middle_of), 0, np.array(size) - 1).astype(int)
        last = np.clip(np.ceil(centre + reach + middle_of), 0, np.array(size) - 1).astype(int)
        return [slice(start, end + 1) for start, end in zip(first, last, strict=True)]

    def _grid(self, image: Tensor, size: Size) -> Tensor:
        """Where each voxel is read, [1, ..., axes], from -1 to 1 between the outer faces.

        The last axis comes first, as grid_sample has it.
        """
        grid = torch.empty(1, *size, len(size), device=image.device)
        for axis, given in enumerate(image.shape[1:]):
            terms = []
            for other, side in enumerate(size):
                places = self._matrix[axis, other] * (np.arange(side) - (side - 1) / 2) * 2 / given
                shape = [side if one == other else 1 for one in range(len(size))]
                terms.append(torch.from_numpy(places.astype(np.float32)).reshape(shape))
            terms = [term.to(image.device) for term in terms]
            torch.add(sum(terms[1:-1], terms[0]), terms[-1], out=grid[0, ..., -1 - axis])
        return grid


def resampled_classes(mask: Tensor, sample: Sampler) -> Tensor:
    """Class indices [1, ...]: each class is read linearly, the one with the largest share wins."""
    ones = {value: mask == value for value in range(1, int(mask.max()) + 1)}
    classes = [value for value, one in ones.items() if bool(one.any())]
    if not classes:
        classes, ones = [0], {0: torch.zeros_like(mask)}
    shares = sample(torch.cat([ones[value] for value in classes]).float())
    most = 1 - shares.sum(0, keepdim=True)
    won = torch.zeros(most.shape, dtype=mask.dtype, device=mask.device)
    for value, share in zip(classes, shares, strict=True):
        won.masked_fill_(share > most, value)
        torch.maximum(most, share, out=most)
    return won


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
