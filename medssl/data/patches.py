"""Where patches are cut: single patches, and two overlapping views of one volume.

All positions are voxels of the *posed* volume, that is after its quarter turns and flips and after
padding; so overlapping views never differ in orientation.

Source of the two views: TraCoCo (Liu et al., IEEE TMI 2024), sheet section 4.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.random import Generator

Triple = tuple[int, int, int]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Pose:
    """One of the eight in-plane orientations: `turns` quarter turns, then a flip or none."""

    turns: int = 0
    flip: int | None = None

    def shape(self, shape: Triple) -> Triple:
        """Shape of the posed volume."""
        x, y, z = shape
        return (y, x, z) if self.turns % 2 else shape

    def apply(self, array: np.ndarray) -> np.ndarray:
        """View of `array` [..., X, Y, Z] in this pose; no copy."""
        first = array.ndim - 3
        turned = np.rot90(array, self.turns, axes=(first, first + 1))
        return turned if self.flip is None else np.flip(turned, first + self.flip)

    def place(self, voxel: Triple, shape: Triple) -> Triple:
        """Where a voxel of a volume of `shape` is in the posed volume."""
        x, y, z = voxel
        width, depth = shape[:2]
        for _ in range(self.turns % 4):
            x, y = depth - 1 - y, x
            width, depth = depth, width
        if self.flip == 0:
            x = width - 1 - x
        elif self.flip == 1:
            y = depth - 1 - y
        return x, y, z


def padding(shape: Triple, patch: Triple) -> tuple[tuple[int, int], ...]:
    """Voxels added on both sides of each axis so that it is longer than the patch.

    The release pads x and y only and fails on a short z; here every short axis is padded. A patch
    one voxel thick fits as it is.
    """
    amounts = (
        (side - length) // 2 + 1 if length <= side and side > 1 else 0
        for length, side in zip(shape, patch, strict=True)
    )
    return tuple((amount, amount) for amount in amounts)


def cut(volume: np.ndarray, start: Sequence[int], size: Sequence[int], fill: float) -> np.ndarray:
    """The box [C, *size] at `start` of a volume [C, ...]; of a memory map it reads no more.

    The box may stick out on any side, even by a negative start; voxels outside are `fill`.
    """
    target = np.full((volume.shape[0], *size), fill, dtype=volume.dtype)
    source, place = [slice(None)], [slice(None)]
    for begin, side, length in zip(start, size, volume.shape[1:], strict=True):
        low = min(max(begin, 0), length)
        high = max(low, min(begin + side, length))
        source.append(slice(low, high))
        place.append(slice(low - begin, high - begin))
    if all(one.stop > one.start for one in source[1:]):
        target[tuple(place)] = volume[tuple(source)]
    return target


def overlap(reference: int, shifted: int, side: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Overlap of two views along one axis, as an interval of each; empty if start >= stop."""
    delta = reference - shifted
    return (
        (max(0, -delta), side - max(0, delta)),
        (max(0, delta), side - max(0, -delta)),
    )


def overlap_boxes(reference: Triple, shifted: Triple, patch: Triple) -> tuple[Box, Box] | None:
    """The voxels both views show, as a box of each view; None if they share none."""
    axes = [overlap(r, s, side) for r, s, side in zip(reference, shifted, patch, strict=True)]
    if any(start >= stop for (start, stop), _ in axes):
        return None
    first, second = (tuple(slice(*axis[view]) for axis in axes) for view in (0, 1))
    return first, second  # type: ignore[return-value]


class PatchSampler(Protocol):
    """Draws the start of every view's patch in a volume of `shape`."""

    @property
    def patch(self) -> Triple:
        """Side lengths in voxels."""

    def draw(
        self, shape: Triple, rng: Generator, centre: Triple | None = None
    ) -> tuple[Triple, ...]:
        """Start of every view, each in [0, side of the volume - side of the patch].

        Args:
            centre: the voxel in the middle of the first view, as far as the borders let it.
        """


def around(centre: Triple, shape: Triple, patch: Triple) -> Triple:
    """Start of the patch around a voxel, moved inside the volume at both borders."""
    sides = zip(centre, shape, patch, strict=True)
    x, y, z = (max(0, min(at - side // 2, length - side)) for at, length, side in sides)
    return x, y, z


def _reference(shape: Triple, patch: Triple, rng: Generator, centre: Triple | None) -> Triple:
    """Around a voxel, or a uniform start; its upper end is exclusive, as in the release."""
    if centre is not None:
        return around(centre, shape, patch)
    x, y, z = (int(rng.integers(max(1, n - s))) for n, s in zip(shape, patch, strict=True))
    return x, y, z


@dataclass(frozen=True)
class SinglePatch:
    """One patch, uniform over the volume or around a voxel."""

    patch: Triple

    def draw(
        self, shape: Triple, rng: Generator, centre: Triple | None = None
    ) -> tuple[Triple, ...]:
        """One start."""
        return (_reference(shape, self.patch, rng, centre),)


@dataclass(frozen=True)
class OverlappingPatches:
    """A reference patch and a shifted one.

    Attributes:
        form: `released`, the current code: the shifted view starts at a lower index;
            `first_release`, April 2022: on either side in x and y, mirrored in z.
        repair: what happens to a pair whose views are too far apart along an axis (`released`).
        min_overlap: least share of the patch volume that both views show; 0 as released.
    """

    patch: Triple
    form: Literal["released", "first_release"] = "released"
    repair: Literal["left_atrium", "pancreas", "none"] = "left_atrium"
    min_overlap: float = 0.0

    def draw(
        self, shape: Triple, rng: Generator, centre: Triple | None = None
    ) -> tuple[Triple, ...]:
        """Start of the reference view, start of the shifted view."""
        for _ in range(100):
            reference = _reference(shape, self.patch, rng, centre)
            shifted = self._shifted(reference, shape, rng)
            if self.fraction(reference, shifted) >= self.min_overlap:
                return reference, shifted
        return reference, reference

    def fraction(self, reference: Triple, shifted: Triple) -> float:
        """Overlap volume over patch volume."""
        sides = zip(reference, shifted, self.patch, strict=True)
        return float(np.prod([max(0, s - abs(a - b)) / s for a, b, s in sides]))

    def _shifted(self, reference: Triple, shape: Triple, rng: Generator) -> Triple:
        x, y, z = self._axes(reference, shape, rng)
        return x, y, z

    def _axes(self, reference: Triple, shape: Triple, rng: Generator) -> Iterator[int]:
        for axis, (start, side, length) in enumerate(
            zip(reference, self.patch, shape, strict=True)
        ):
            if self.form == "first_release":
                yield _either_side(start, length - side, axis, rng)
            else:
                lower = int(rng.integers(start)) if start else 0
                yield self.repaired(start, lower, axis)

    def repaired(self, reference: int, shifted: int, axis: int) -> int:
        """The shifted start, brought closer where the release does so.

        On volumes of more than three patch sides, which the release never met, its left-atrium rule
        can pass the reference and leave the volume: there the views lie half a patch apart.
        """
        side = self.patch[axis]
        if reference - shifted <= side or self.repair == "none":
            return shifted
        closer = shifted + reference // 2
        if self.repair == "pancreas" or (axis < 2 and closer > reference):
            return reference - side // 2
        return closer if axis < 2 else shifted


def _either_side(start: int, last: int, axis: int, rng: Generator) -> int:
    if axis == 2:
        return last - start
    stop = int(1.5 * start) if 1.5 * start <= last else int(0.75 * start)
    return int(rng.integers(start // 4, max(stop, start // 4) + 1))
