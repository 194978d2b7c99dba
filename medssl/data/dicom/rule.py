"""Which series of a DICOM study a channel is: what a data spec says, and what training has seen."""

import re
from collections.abc import Iterable
from math import log
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from medssl.data.geometry import Geometry
from medssl.section import Section

ALIKE = 1.5
"""Factor by which a scan may lie outside of what training has seen and still be like it."""

Sorted = tuple[float, float, float]


class SeriesRule(Section):
    """What the series that a channel is taken from must be; what is not said does not matter."""

    description: str | None = Field(
        default=None,
        description="regular expression that is found in the description, the protocol or the "
        "sequence name; capitals count as small letters",
    )
    without: str | None = Field(default=None, description="the same, that is found in none of them")
    number: int | None = Field(default=None, description="SeriesNumber, to choose one by hand")
    agent: bool | None = Field(default=None, description="whether a contrast agent was given")
    slice_mm: float | None = Field(default=None, gt=0, description="greatest distance of slices")
    image_type: tuple[str, ...] = Field(
        default=(),
        description="words that ImageType must hold, e.g. [ADC]; maps and projections, which are "
        "refused otherwise, are taken so",
    )
    part: str | None = Field(
        default=None,
        description="regular expression that fits the echo, phase or b-value that is meant, as "
        "`medssl predict` names them, e.g. 'b-value 1000'",
    )

    @field_validator("description", "without", "part")
    @classmethod
    def _is_expression(cls, given: str | None) -> str | None:
        try:
            re.compile(given or "")
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"the expression is wrong: {error}") from None
        return given


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
