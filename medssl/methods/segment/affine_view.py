"""Patches turned and scaled about their middle, with what is said of their voxels.

Angles are true in voxels whatever the sides of a patch.

Legend: B items, C channels, X Y Z voxels.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from medssl.data.draws import placed
from medssl.methods.settings.multi_augs import Affine


def draw_matrices(items: int, flat: bool, chosen: Affine, rng: np.random.Generator) -> Tensor:
    """[B, 3, 3]: where in the patch the value of each place comes from, both from the middle.

    Args:
        flat: turns are about z alone.
    """
    found = []
    for _ in range(items):
        matrix = np.eye(3)
        if rng.random() < chosen.probability:
            turns = rng.normal(0, chosen.degrees, 3).clip(-chosen.most_degrees, chosen.most_degrees)
            for axis, degrees in enumerate(turns):
                if axis == 2 or not flat:
                    matrix = matrix @ _turn(axis, math.radians(degrees))
            size = rng.uniform(1 - chosen.scale, 1 + chosen.scale)
            matrix = matrix / np.array([size, size, 1 if flat else size])
        found.append(matrix)
    return torch.from_numpy(np.stack(found)).float()


def _turn(axis: int, angle: float) -> np.ndarray:
    one, other = (first for first in range(3) if first != axis)
    matrix = np.eye(3)
    matrix[[one, other], [one, other]] = math.cos(angle)
    matrix[one, other], matrix[other, one] = -math.sin(angle), math.sin(angle)
    return matrix


def warped(values: Tensor, matrices: Tensor) -> Tensor:
    """Values [B, C, X, Y, Z] read at matrices [B, 3, 3] times each place, linearly; 0 outside."""
    half = torch.tensor(values.shape[2:], dtype=torch.float32) / 2
    # As grid_sample has it: from -1 to 1, the last axis first.
    shares = (matrices * half[None, None, :] / half[None, :, None]).flip(1).flip(2)
    theta = placed(torch.cat([shares, torch.zeros(len(values), 3, 1)], 2), values, values.dtype)
    grid = affine_grid(theta, list(values.shape), align_corners=False)
    return grid_sample(values, grid, align_corners=False)
