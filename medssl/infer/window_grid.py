"""Where the windows of a volume lie and how much each of their voxels counts.

Axes are those of the volume; starts, patch and stride are in voxels.
"""

from itertools import product
from typing import Literal

import torch
from torch import Tensor

from medssl.errors import UsageError

Triple = tuple[int, int, int]
Weighting = Literal["gaussian", "constant"]

SIGMA = 0.125
"""Standard deviation of the Gaussian weight, as a share of the patch's side (MONAI's default)."""

LEAST_WEIGHT = 1e-3
"""No voxel of a window counts less than this beside 1 in the middle (as in MONAI)."""


def window_starts(length: int, patch: int, stride: int) -> list[int]:
    """First voxels of the windows along one axis: {0, stride, 2 stride, ..., length - patch}.

    The last window ends with the axis, so its distance to the one before may be less than the
    stride. An axis no longer than the patch has one window, at 0.

    Raises:
        UsageError: if the stride is not within 1 ... patch; a longer one would leave gaps.
    """
    if not 1 <= stride <= patch:
        raise UsageError(
            f"a window stride of {stride} does not suit a patch of {patch} voxels",
            "every voxel must lie in a window",
            f"choose a stride from 1 to {patch}",
        )
    last = max(0, length - patch)
    return [*range(0, last, stride), last]


class Windows:
    """The grid of windows over a volume.

    Attributes:
        shape: voxels of the volume.
        patch: voxels of a window.
        padded: `shape`, but nowhere less than the patch.
        before: voxels of padding before the volume's first, per axis.
        axis: the long axis: the one that holds most patches; windows come in its order.
        starts: first voxels of the windows per axis, in the padded volume.
    """

    def __init__(self, shape: Triple, patch: Triple, stride: Triple) -> None:
        self.shape, self.patch = shape, patch
        x, y, z = (max(sides) for sides in zip(shape, patch, strict=True))
        self.padded: Triple = (x, y, z)
        x, y, z = (max(0, side - size) // 2 for size, side in zip(shape, patch, strict=True))
        self.before: Triple = (x, y, z)
        self.axis = max(range(3), key=lambda axis: shape[axis] / patch[axis])
        self.starts = [window_starts(*axis) for axis in zip(shape, patch, stride, strict=True)]

    def corners(self) -> list[Triple]:
        """First voxel of every window, in the order of the long axis."""
        x, y, z = self.starts
        return sorted(product(x, y, z), key=lambda corner: corner[self.axis])


def window_weights(patch: Triple, weighting: Weighting) -> Tensor:
    """Weight of each voxel of a window, [X, Y, Z] float32, 1 or (even sides) just under it inside.

    Gaussian weights are the product of one curve per axis, kept above `LEAST_WEIGHT`; in this
    order of operations they equal those of MONAI's `compute_importance_map` to the last bit.
    """
    if weighting == "constant":
        return torch.ones(patch)
    x, y, z = (_curve(side) for side in patch)
    return ((x[:, None] * y)[..., None] * z).clamp_(min=LEAST_WEIGHT)


def _curve(side: int) -> Tensor:
    middle = (side - 1) / 2
    return torch.exp(torch.arange(-middle, middle + 1) ** 2 / (-2 * (SIGMA * side) ** 2))
