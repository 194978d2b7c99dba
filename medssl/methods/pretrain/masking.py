"""Cubes of scans that are hidden from an encoder; of pictures squares.

Source: sheet of modality-invariant learning, section 5, step 6.

Legend: B scans, x y z cells of the grid of cubes, X Y Z voxels or cells of a finer grid.
"""

from math import prod

import torch
from torch import Generator, Tensor

from medssl.data.draws import uniform
from medssl.methods.settings.masked_image_modelling import Masking


def draw_cells(like: Tensor, settings: Masking, generator: Generator) -> Tensor:
    """Hidden cubes of scans `like` [B, 1, X, Y, Z], as [B, 1, x, y, z] bool; each draws its own.

    Of n cubes round(r n) are hidden, r uniform in the ratio.
    """
    grid = [max(1, side // settings.cell) for side in like.shape[2:]]
    cells = prod(grid)
    share = uniform((len(like), 1), *settings.ratio, like, generator)
    return hide(share, cells, like, generator).view(len(like), 1, *grid)


def hide(share: Tensor, cells: int, like: Tensor, generator: Generator) -> Tensor:
    """[B, cells] bool: of each row a random round(share * cells) are true; `share` is [B, 1]."""
    order = uniform((len(share), cells), 0, 1, like, generator).argsort(1).argsort(1)
    return order < (share * cells).round()


def enlarge(cells: Tensor, shape: torch.Size) -> Tensor:
    """Cubes [B, 1, x, y, z] on a finer grid of the spatial `shape` (X, Y, Z)."""
    for axis, side in enumerate(shape, start=2):
        cells = cells.repeat_interleave(side // cells.shape[axis], axis)
    return cells
