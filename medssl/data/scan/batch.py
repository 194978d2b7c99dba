"""What pre-training on scans is given: windows of single-channel volumes.

Legend: B items, V scans of an item, x y z voxels of a source box, X Y Z voxels of a window.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import grid_sample


@dataclass
class ScanBatch:
    """Windows of one stream, each with its own affine, cut when they are asked for.

    A window is the same place of every scan of an item, seen through each scan's own affine; so
    scans of one session are aligned by region, not by voxel.

    Attributes:
        source: [B, V, 1, x, y, z] float32, boxes that hold all that the windows need, their border
            repeated where they are longer than the volume. V is 2 in "pairs", 1 in "scans".
        affine: [B, V, 3, 4] float32, from a window's normalised coordinates to those of its source,
            as `torch.nn.functional.affine_grid` wants it (last axis first, align_corners false);
            None where no affine is drawn: the boxes are the windows, voxel for voxel.
        patch: sides of the windows in voxels.
        patient: [B] int64 from 1, equal exactly for one patient, over all data sets.
        contrast: [B, V] int64, index of each scan's contrast in the task's; -1 where unknown.
        ids: case of each item.
        anatomy: [B, V, f] float32 of unit length, what an anatomical embedding says of the middle
            of each window; None where it is not asked.
        near: [B, V] float32, products of such vectors from which windows show the same anatomy.
    """

    source: Tensor
    affine: Tensor | None
    patch: tuple[int, int, int]
    patient: Tensor
    contrast: Tensor
    ids: tuple[str, ...]
    anatomy: Tensor | None = None
    near: Tensor | None = None

    def windows(self) -> Tensor:
        """[B, V, 1, X, Y, Z] float32; trilinear, the border goes on outside of the volume."""
        if self.affine is None:
            return self.source
        items, views = self.source.shape[:2]
        source = self.source.flatten(0, 1)
        grid = _grid(self.affine.flatten(0, 1), self.patch)
        cut = grid_sample(source, grid, padding_mode="border", align_corners=False)
        return cut.reshape(items, views, 1, *self.patch)

    def onto_first(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Maps of the second windows, looked up where the first ones show the same place.

        Both scans of an item are one scan, as then they are cut from one box; or there is no
        affine.

        Args:
            maps: [B, E, x, y, z] of the second windows, at any resolution.

        Returns:
            maps [B, E, x, y, z], and [B, x, y, z] bool: which cells both windows show.
        """
        if self.affine is None:
            return maps, maps.new_ones((len(maps), *maps.shape[2:]), dtype=torch.bool)
        first, second = self.affine.double().unbind(1)
        linear = torch.linalg.solve(second[:, :, :3], first[:, :, :3])
        shift = torch.linalg.solve(second[:, :, :3], first[:, :, 3:] - second[:, :, 3:])
        x, y, z = maps.shape[2:]
        grid = _grid(torch.cat([linear, shift], 2).to(maps.dtype), (x, y, z))
        found = grid_sample(maps, grid, padding_mode="border", align_corners=False)
        return found, (grid.abs() <= 1).all(-1)

    def to(self, device: torch.device) -> Self:
        """The same batch on `device`."""
        source, patient, contrast = (
            value.to(device, non_blocking=True)
            for value in (self.source, self.patient, self.contrast)
        )
        affine, anatomy, near = (
            None if value is None else value.to(device, non_blocking=True)
            for value in (self.affine, self.anatomy, self.near)
        )
        given = source, affine, self.patch, patient, contrast, self.ids
        return type(self)(*given, anatomy, near)

    def damaged(self) -> tuple[str, ...]:
        """The cases with voxels that are not finite."""
        pairs = zip(self.ids, self.source, strict=True)
        return tuple(case for case, source in pairs if not bool(source.isfinite().all()))


def _grid(affine: Tensor, patch: tuple[int, int, int]) -> Tensor:
    """`affine_grid` of affines [N, 3, 4], [N, *patch, 3]; as a sum of axes, which is far faster."""
    grid = affine[:, None, None, None, :, 3]
    for axis, side in enumerate(patch):
        shape = [side if other == axis else 1 for other in range(3)]
        centres = (2 * torch.arange(side, device=affine.device, dtype=affine.dtype) + 1) / side - 1
        grid = grid + centres.view(1, *shape, 1) * affine[:, None, None, None, :, 2 - axis]
    return grid
