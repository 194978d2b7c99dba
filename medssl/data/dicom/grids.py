"""The grids of the scans that a network was trained on, by which a series is chosen."""

from collections.abc import Iterable
from math import log
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from medssl.data.geometry import Geometry

ALIKE = 1.5
"""Factor by which a scan may lie outside of what training has seen and still be like it."""

Sorted = tuple[float, float, float]


class Grids(BaseModel):
    """The grids of the scans that a network was trained on, axes sorted from short to long.

    Attributes:
        spacing_mm: the least and the greatest distance of voxels.
        extent_mm: the same of the field of view.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    spacing_mm: tuple[Sorted, Sorted]
    extent_mm: tuple[Sorted, Sorted]

    @classmethod
    def of(cls, grids: Iterable[Geometry]) -> Self | None:
        """The grids of these scans; None without any."""
        found = list(grids)
        if not found:
            return None
        spacing = np.sort([grid.spacing for grid in found], axis=1)
        extent = np.sort([np.multiply(grid.shape, grid.spacing) for grid in found], axis=1)
        return cls(spacing_mm=_ends(spacing), extent_mm=_ends(extent))

    def unlike(self, grid: Geometry) -> str:
        """What no scan of training was like, in words; empty where the grid is like theirs."""
        extent = np.multiply(grid.shape, grid.spacing)
        for what, found, (low, high) in (
            ("voxels", grid.spacing, self.spacing_mm),
            ("a field of view", extent, self.extent_mm),
        ):
            if any(map(_outside, sorted(found), low, high)):
                seen = _by(low) if _by(low) == _by(high) else f"{_by(low)} to {_by(high)}"
                return f"{what} of {_by(found)} mm, and training saw {seen} mm"
        return ""


def _outside(found: float, low: float, high: float) -> bool:
    return max(log(low / found), log(found / high)) > log(ALIKE)


def _ends(values: np.ndarray) -> Any:
    rounded = [[float(f"{one:.4g}") for one in row] for row in (values.min(0), values.max(0))]
    return tuple(map(tuple, rounded))


def _by(sides: Iterable[float]) -> str:
    return " x ".join(f"{side:.3g}" for side in sides)
