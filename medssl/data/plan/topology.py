"""How often each axis is halved, and where kernels reach along it: from spacing and patch alone.

Source: nnU-Net's network topology; sections 2.2 and 6.4 of the planning sheet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

SMALLEST = 4
"""Voxels that a side keeps on the coarsest level."""

SIMILAR = 2.0
"""Axes whose voxels differ by less than this factor are treated alike."""


@dataclass(frozen=True)
class Topology:
    """The levels of a U-Net, finest first.

    Attributes:
        strides: of each level along each axis; 1 on the first.
        kernels: of each level along each axis, 1 or 3.
        patch: the given one, padded so that each halving is exact, in voxels.
    """

    strides: tuple[tuple[int, ...], ...]
    kernels: tuple[tuple[int, ...], ...]
    patch: tuple[int, ...]

    @property
    def poolings(self) -> tuple[int, ...]:
        """Halvings of each axis."""
        return tuple(sum(one == 2 for one in axis) for axis in zip(*self.strides, strict=True))

    @property
    def divisors(self) -> tuple[int, ...]:
        """Voxels that each side is a multiple of."""
        return tuple(2**count for count in self.poolings)


def topology(spacing: Sequence[float], patch: Sequence[float]) -> Topology:
    """The levels of a network for patches of these sides.

    Args:
        spacing: mm along each axis.
        patch: voxels along each axis.
    """
    axes = range(len(patch))
    size, voxel = list(patch), list(spacing)
    kernel = [1 for _ in axes]
    strides, kernels = [tuple(1 for _ in axes)], list[tuple[int, ...]]()
    while halved := _halved(size, voxel):
        finest = min(voxel)
        kernel = [3 if voxel[axis] < SIMILAR * finest else kernel[axis] for axis in axes]
        kernels.append(tuple(kernel))
        strides.append(tuple(2 if axis in halved else 1 for axis in axes))
        for axis in halved:
            voxel[axis] *= 2
            size[axis] = ceil(size[axis] / 2)
    kernels.append(tuple(3 for _ in axes))
    found = Topology(tuple(strides), tuple(kernels), ())
    whole = (ceil(side / least) * least for side, least in zip(patch, found.divisors, strict=True))
    return Topology(found.strides, found.kernels, tuple(whole))


def _halved(size: Sequence[float], voxel: Sequence[float]) -> list[int]:
    """The axes that are halved next; none: the coarsest level is reached."""
    long = [axis for axis in range(len(size)) if size[axis] >= 2 * SMALLEST]
    if not long:
        return []
    finest = min(voxel[axis] for axis in long)
    alike = [axis for axis in long if voxel[axis] < SIMILAR * finest]
    if len(alike) == 1 and size[alike[0]] < 3 * SMALLEST:
        return []
    return alike
