"""Linear reading of images after a rotation, and of masks class by class.

Legend: C channels, K classes, N voxels, X Y Z sides of an image; planar images have no Z.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, floor, prod

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from medssl.data.draws import placed
from medssl.data.labels import IGNORED
from medssl.transforms.moves import Size

PLANES = ((1, 2), (2, 0), (0, 1))
"""The axes that a rotation about the first, second and third axis turns into each other."""


def turn(axes: int, first: int, second: int, angle: float) -> np.ndarray:
    """The rotation matrix that turns `first` towards `second` by so many radians."""
    matrix = np.eye(axes)
    matrix[[first, second], [first, second]] = np.cos(angle)
    matrix[second, first], matrix[first, second] = np.sin(angle), -np.sin(angle)
    return matrix


_MOST = 1 << 17  # voxels that are made at once: all that is computed of them stays in the cache


@dataclass(frozen=True)
class _Places:
    """Where some planes of a result are read in a padded image.

    Attributes:
        made: these planes, along the first axis of the part that is made.
        cell: int32 [x, Y, Z], the voxel before each place along all axes, counted in the flat
            image.
        above: for each axis, the way from there to the next voxel; float32 [x or 1, Y or 1, Z or
            1], as it does not depend on all of them where an image is scaled alone.
    """

    made: slice
    cell: Tensor
    above: tuple[Tensor, ...]


OUTSIDE = (1, 2)
"""Voxels that are put before and after those of an image: two after, so that each has a next."""


class Rotation:
    """Linear interpolation at `matrix` @ place, both seen from the middle; 0 outside."""

    def __init__(self, matrix: np.ndarray) -> None:
        self._matrix = matrix

    def __call__(self, image: Tensor, size: Size) -> Tensor:
        """The middle `size` voxels of float [C, ...]."""
        filled = _filled(image)
        box = self._box(filled, image, size)
        padded = pad(image[(slice(None), *filled)], OUTSIDE * len(size))
        steps, channels = _steps(padded.shape[1:]), padded.flatten(1)
        made = image.new_zeros(len(image), *size)
        part = made[(slice(None), *box)]
        for places in self._places(filled, box, image, size):
            for channel, target in zip(channels, part, strict=True):
                target[places.made] = _linear(channel, places.cell, steps, places.above)
        return made

    def classes(self, mask: Tensor, size: Size) -> Tensor:
        """The middle `size` voxels of class indices [1, ...], in their own type.

        Each class is read linearly and the one with the largest share wins, the lowest of equal
        ones. Where all voxels around a place are of one class, that need not be computed. Of masks
        with ignored voxels the nearest voxel is taken: single slices and scribbles would be lost
        between their ignored neighbours; beyond such a mask all is ignored.
        """
        filled = _filled(mask)
        outside = 0
        if _has_ignored(mask[0][tuple(filled)]):
            filled, outside = [slice(0, side) for side in mask.shape[1:]], IGNORED
        box = self._box(filled, mask, size)
        padded = pad(mask[0][tuple(filled)], OUTSIDE * len(size), value=outside)
        steps, flat = _steps(padded.shape), padded.flatten()
        least, between = _cells(flat, steps)
        made = mask.new_full((1, *size), outside)
        part = made[0][tuple(box)]
        for places in self._places(filled, box, mask, size):
            if outside:
                part[places.made] = _read(flat, _nearest(steps, places))
                continue
            won, shared = _read(least, places.cell), _read(between, places.cell)
            which = _which(shared)
            won.view(-1).scatter_(0, which, _weighed(flat, steps, places, which))
            part[places.made] = won
        return made

    def _box(self, filled: list[slice], image: Tensor, size: Size) -> list[slice]:
        """The voxels of the result that read from the box `filled`; all others are 0."""
        found = []
        for back, side in zip(np.linalg.inv(self._matrix).tolist(), size, strict=True):
            centre = reach = 0.0
            for weight, part, given in zip(back, filled, image.shape[1:], strict=True):
                centre += weight * (part.start + part.stop - given) / 2
                # A voxel is read as far as its neighbours; a hundredth more is for rounding.
                reach += abs(weight) * ((part.stop - part.start + 1) / 2 + 0.01)
            ends = centre - reach + (side - 1) / 2, centre + reach + (side - 1) / 2
            first, last = (min(max(one, 0), side - 1) for one in (floor(ends[0]), ceil(ends[1])))
            found.append(slice(first, last + 1))
        return found

    def _places(
        self, filled: list[slice], box: list[slice], image: Tensor, size: Size
    ) -> Iterator[_Places]:
        """Where the voxels of `box` are read in the part `filled` of an image, padded."""
        sides = [part.stop - part.start for part in filled]
        steps = _steps([side + sum(OUTSIDE) for side in sides])
        terms = [self._terms(axis, part, box, image, size) for axis, part in enumerate(filled)]
        shape = [part.stop - part.start for part in box]
        thick = max(1, _MOST // prod(shape[1:])) if image.device.type == "cpu" else shape[0]
        for start in range(0, shape[0], thick):
            made = slice(start, min(start + thick, shape[0]))
            cell, above = torch.zeros(1, dtype=torch.int32, device=image.device), []
            for side, step, (across, within) in zip(sides, steps, terms, strict=True):
                place = (across if len(across) == 1 else across[made]) + within
                below = place.clamp_(0, side + 1).floor()
                above.append(place.sub_(below))
                cell = torch.add(cell, below.to(torch.int32), alpha=step)
            yield _Places(made, cell, tuple(above))

    def _terms(
        self, axis: int, filled: slice, box: list[slice], image: Tensor, size: Size
    ) -> tuple[Tensor, Tensor]:
        """Places along one axis of the padded image: by planes of the result, and within them.

        Float32 [X or 1, 1, 1] and [1, Y or 1, Z or 1], to be added.
        """
        across: np.ndarray = np.zeros([1] * len(size))
        within = across + (image.shape[1 + axis] - 1) / 2 - filled.start + OUTSIDE[0]
        for other, (side, part) in enumerate(zip(size, box, strict=True)):
            if weight := self._matrix[axis, other]:
                shape = [-1 if one == other else 1 for one in range(len(size))]
                term = weight * (np.arange(side) - (side - 1) / 2)[part].reshape(shape)
                across, within = (across, within + term) if other else (term, within)
        first, second = (placed(one.astype(np.float32), image) for one in (across, within))
        return first, second


def _filled(image: Tensor) -> list[slice]:
    """The box of [C, ...] outside of which all is 0; one voxel where nothing is filled.

    Masks are 0 in most places, and what is left out there costs nothing. Other devices than a CPU
    are so quick that it is not worth looking for.
    """
    whole = [slice(0, side) for side in image.shape[1:]]
    if image.device.type != "cpu":
        return whole
    values = image.detach().numpy()
    faces = (values.take(end, axis) for axis in range(1, values.ndim) for end in (0, -1))
    if all(face.any() for face in faces):
        return whole
    filled = values[0] if len(values) == 1 else (values != 0).any(0)
    if filled.dtype.kind not in "bu":
        filled = filled != 0
    shown, planes = filled.max(0) != 0, filled.reshape(len(filled), -1).max(1)
    if not shown.any():
        return [slice(0, 1)] * len(whole)
    lines = [planes, shown] if shown.ndim == 1 else [planes, shown.any(1), shown.any(0)]
    ends = [np.flatnonzero(line)[[0, -1]] for line in lines]
    return [slice(int(low), int(high) + 1) for low, high in ends]


def _has_ignored(mask: Tensor) -> bool:
    """Whether some voxels are ignored; the largest class is quicker to find than one of them."""
    return bool(mask.contiguous().amax() >= IGNORED) and bool((mask == IGNORED).any())


def _steps(sides: Sequence[int]) -> list[int]:
    """From a voxel to the next along each axis, in a flat image of these sides."""
    return [prod(sides[axis + 1 :]) for axis in range(len(sides))]


def _read(flat: Tensor, cell: Tensor) -> Tensor:
    """The voxels of a flat image that int32 [...] counts."""
    return flat.index_select(0, cell.view(-1)).view(cell.shape)


def _linear(flat: Tensor, cell: Tensor, steps: Sequence[int], above: Sequence[Tensor]) -> Tensor:
    """Float [...], between the corners of cells of a flat image; axis by axis."""
    if not steps:
        return _read(flat, cell)
    low, high = (_linear(one, cell, steps[1:], above[1:]) for one in (flat, flat[steps[0] :]))
    return low.lerp_(high, above[0])


def _which(shared: Tensor) -> Tensor:
    """Int64 [N], which are true; on a CPU by numpy, which takes a third of torch's time."""
    if shared.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(shared.numpy()))
    return shared.flatten().nonzero().flatten()


def _nearest(steps: list[int], places: _Places) -> Tensor:
    """The voxels that are nearest, counted in the flat image, as `_Places.cell`."""
    found = places.cell
    for step, above in zip(steps, places.above, strict=True):
        found = torch.add(found, above.round().to(torch.int32), alpha=step)
    return found


def _cells(flat: Tensor, steps: list[int]) -> tuple[Tensor, Tensor]:
    """The least class among the corners of each cell between voxels, and whether they differ.

    Cells are counted as the first of their corners in the flat mask; those that go from the end of
    one row to the start of the next mean nothing.
    """
    least = most = flat
    for step in steps:
        least = torch.minimum(least[:-step], least[step:])
        most = torch.maximum(most[:-step], most[step:])
    return least, least != most


def _weighed(flat: Tensor, steps: list[int], places: _Places, which: Tensor) -> Tensor:
    """The class with the largest share at some of the places, which int64 [N] counts.

    Nearly everywhere the corners are of two classes, and the share of one of them decides.
    """
    above = [
        one.expand(places.cell.shape).reshape(-1).index_select(0, which) for one in places.above
    ]
    offsets = [sum(chosen) for chosen in product(*((0, step) for step in steps))]
    corners = _read(
        flat,
        places.cell.view(-1).index_select(0, which)
        + torch.tensor(offsets, dtype=torch.int32, device=flat.device)[:, None],
    )
    low, high = corners.amin(0), corners.amax(0)
    of_low, share = (
        torch.eq(corners, one, out=torch.empty(corners.shape, device=flat.device))
        for one in (low, high)
    )
    more = (of_low.add_(share).sum(0) < len(corners)).nonzero().flatten()
    for one in above:
        lower, upper = share.chunk(2)
        share = lower.lerp_(upper, one)
    won = low.where(share[0] <= 0.5, high)
    if len(more):
        rest = corners.index_select(1, more)
        won[more] = _largest(rest, [one.index_select(0, more) for one in above])
    return won


def _largest(corners: Tensor, above: list[Tensor]) -> Tensor:
    """The class with the largest share among corners [2^axes, N], the lowest of equal ones."""
    shares = torch.ones(1, corners.shape[1], device=corners.device)
    for one in above:
        shares = torch.stack([shares * (1 - one), shares * one], 1).flatten(0, 1)
    won = torch.stack([(shares * (corners == one)).sum(0) for one in corners])
    return corners.where(won == won.amax(0), corners.amax(0)).amin(0)
