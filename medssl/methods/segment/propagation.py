"""Labels of known slices lent to the slices beside them, with less weight the further they are.

Source: sheet of partial labels, section 2: DeSCO (CVPR 2023) weighs what it propagates by b to the
power of the distance, b falling to 0. It propagates by registration and over whole volumes; here a
voxel takes the label of the nearest known one along an axis, within the patch.

Legend: B items, X Y Z voxels.
"""

from math import cos, floor, pi

import torch
from torch import Tensor

from medssl.methods.method import Progress
from medssl.methods.segment.loss_settings import Slices

STAIRS, HALVINGS = 6, 40
"""DeSCO's 6000 steps: b changes every 1000, by a cosine that counts in steps of 150."""


def nearest_known(label: Tensor, known: Tensor, axes: str) -> tuple[Tensor, Tensor]:
    """Labels of the nearest known voxels along some axes, and how far they are.

    Args:
        label: [B, X, Y, Z].
        known: [B, X, Y, Z] bool.
        axes: of "xyz"; of equally near voxels the one along the first axis counts, and before the
            voxel.

    Returns:
        Labels [B, X, Y, Z], as given where no voxel is known along any of the axes, and distances
        in voxels [B, X, Y, Z], infinite there.
    """
    best = torch.where(known, 0.0, torch.inf)
    found = label
    for axis in axes:
        dim = "xyz".index(axis) - 3
        side = label.shape[dim]
        shape = [1] * label.ndim
        shape[dim] = side
        place = torch.arange(side, device=label.device).view(shape).expand_as(label)
        before = torch.where(known, place, -1).cummax(dim).values
        after = torch.where(known, place, side).flip(dim).cummin(dim).values.flip(dim)
        for source, exists in ((before, before >= 0), (after, after < side)):
            distance = torch.where(exists, (place - source).abs().to(best.dtype), torch.inf)
            nearer = distance < best
            taken = label.gather(dim, source.clamp(0, side - 1))
            found, best = torch.where(nearer, taken, found), torch.where(nearer, distance, best)
    return found, best


def share_kept(chosen: Slices, progress: Progress) -> float:
    """b: the weight of a voxel one slice from a known one."""
    stair = floor(STAIRS * (progress.step - 1) / progress.steps)
    if not chosen.falling or not stair:
        return chosen.weight
    return (1 + cos(pi * floor(HALVINGS * stair / STAIRS) / HALVINGS)) / 2


def propagated(
    label: Tensor, known: Tensor, chosen: Slices, progress: Progress
) -> tuple[Tensor, Tensor]:
    """Labels [B, X, Y, Z], and the weight of each: 1 where known, b^distance elsewhere."""
    found, distance = nearest_known(label, known.bool(), chosen.axes)
    weight = share_kept(chosen, progress) ** distance
    return found, torch.where(distance > chosen.reach, 0, weight)
