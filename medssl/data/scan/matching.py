"""The same place in another volume, by anatomical vectors, in millimetres of RAS+ throughout.

Source: sheet of Alice, section 3 step 3 and section 8.2. Its released code mixes two orders of axes
and ignores spacing (sheet, section 12, no. 15); here points are world points in and out.

Legend: N points, M fine cells of the target, d features, x y z fine cells, u v w coarse cells,
k coarse cells per point, r fine cells of a coarse one.
"""

from dataclasses import dataclass
from functools import cached_property
from math import prod, sqrt
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from medssl.data.geometry import Geometry
from medssl.data.scan.matching_settings import MatchingSettings
from medssl.networks.anatomical_embedding import on_fine_grid

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class EmbeddedVolume:
    """The vectors of a volume and where its cells lie.

    Attributes:
        fine: [d, x, y, z] of unit length, any float dtype.
        coarse: [d, u, v, w] of unit length, on the same device.
        geometry: of the fine cells: index of a cell to mm of its centre, RAS+.
        ratio: fine cells to a coarse cell along each axis.
    """

    fine: Tensor
    coarse: Tensor
    geometry: Geometry
    ratio: Triple

    @property
    def shape(self) -> Triple:
        """Fine cells along each axis."""
        return self.geometry.shape

    @cached_property
    def vectors(self) -> Tensor:
        """[x y z, 2 d] float32, fine and coarse of every fine cell.

        The product of two of them is the mean of both similarities.
        """
        coarse = on_fine_grid(self.coarse.float()[None], self.shape, self.ratio)[0]
        both = torch.cat([self.fine.float(), coarse]).flatten(1) / sqrt(2)
        return both.T.contiguous()

    def to(self, device: torch.device) -> Self:
        """The same on `device`."""
        return type(self)(self.fine.to(device), self.coarse.to(device), self.geometry, self.ratio)

    def cells(self, points: Tensor) -> Tensor:
        """Indices [N, 3] int64 of the cells nearest to points [N, 3] mm; float64, on the CPU."""
        inverse = torch.from_numpy(np.linalg.inv(self.geometry.affine))
        index = (points.double() @ inverse[:3, :3].T + inverse[:3, 3]).round().long()
        return index.clamp(min=torch.zeros(3, dtype=torch.long), max=torch.tensor(self.shape) - 1)

    def points(self, cells: Tensor) -> Tensor:
        """Centres [N, 3] mm, float64 on the CPU, of cells [N, 3]."""
        affine = torch.from_numpy(self.geometry.affine.copy())
        return cells.double().cpu() @ affine[:3, :3].T + affine[:3, 3]


def cell_geometry(volume: Geometry, stride: Triple) -> Geometry:
    """Grid of the cells of `stride` voxels: the first covers the first voxels of each axis.

    The centre of cell i lies at voxel stride * i + (stride - 1) / 2. The last cell of an axis may
    reach beyond the volume.
    """
    x, y, z = (-(-length // step) for length, step in zip(volume.shape, stride, strict=True))
    steps = np.array(stride, dtype=np.float64)
    affine = volume.affine.copy()
    affine[:3, 3] += volume.affine[:3, :3] @ ((steps - 1) / 2)
    affine[:3, :3] *= steps
    return Geometry((x, y, z), affine)


class Matches(NamedTuple):
    """Where N points were found, on the CPU.

    Attributes:
        points: [N, 3] float64, mm RAS+ in the target.
        score: [N] float32, similarity in [-1, 1].
        missed: [N] float32, distance in fine cells from a point to the match of its match.
        believed: [N] bool, by the cycle test, the score and its quantile.
    """

    points: Tensor
    score: Tensor
    missed: Tensor
    believed: Tensor


@torch.no_grad()
def match(
    points: Tensor, source: EmbeddedVolume, target: EmbeddedVolume, settings: MatchingSettings
) -> Matches:
    """Where points [N, 3], mm RAS+ in `source`, lie in `target`.

    Both volumes lie on one device, where the search runs. A point outside of the source is taken
    for the nearest cell's.
    """
    began = source.cells(points.cpu())
    query = source.vectors[_flat(began, source.shape).to(source.fine.device)]
    found, score = _search(query, target, settings)
    back, _ = _search(target.vectors[found], source, settings)
    missed = (_unflat(back.cpu(), source.shape) - began).float().norm(dim=1)
    score = score.cpu()
    believed = (missed <= settings.cycle) & (score >= settings.similarity)
    if settings.quantile:
        believed &= score >= torch.quantile(score, settings.quantile)
    cells = _unflat(found.cpu(), target.shape)
    return Matches(target.points(cells), score, missed, believed)


def _search(
    query: Tensor, target: EmbeddedVolume, settings: MatchingSettings
) -> tuple[Tensor, Tensor]:
    """Flat index [N] of the fine cell most similar to each query [N, 2 d], and its score [N]."""
    if prod(target.shape) <= settings.exhaustive:
        score, index = (query @ target.vectors.T).max(1)
        return index, score
    candidates = _near_coarse(query, target, settings.coarse_cells)
    scores = torch.einsum("nc,nmc->nm", query, target.vectors[candidates])
    score, best = scores.max(1)
    return candidates.gather(1, best[:, None])[:, 0], score


def _near_coarse(query: Tensor, target: EmbeddedVolume, count: int) -> Tensor:
    """Flat indices [N, k r] of the fine cells in the k most similar coarse cells."""
    grid = target.coarse.shape[1:]
    coarse = query[:, query.shape[1] // 2 :] @ target.coarse.float().flatten(1)
    best = coarse.topk(min(count, coarse.shape[1]), dim=1).indices
    device = query.device
    ratio = torch.tensor(target.ratio, device=device)
    steps = [torch.arange(step, device=device) for step in target.ratio]
    offsets = torch.cartesian_prod(*steps)
    corner = _unflat(best.flatten(), (grid[0], grid[1], grid[2])).to(device) * ratio
    inside = (corner[:, None] + offsets).minimum(torch.tensor(target.shape, device=device) - 1)
    return _flat(inside.flatten(0, 1), target.shape).view(len(query), -1)


def _flat(cells: Tensor, shape: Triple) -> Tensor:
    x, y, z = cells.unbind(-1)
    return (x * shape[1] + y) * shape[2] + z


def _unflat(index: Tensor, shape: Triple) -> Tensor:
    plane = shape[1] * shape[2]
    within = index % plane
    return torch.stack([index // plane, within // shape[2], within % shape[2]], dim=-1)
