"""What preprocessing did to the grid of a scan, so that results find their way back.

The two grids say it all: any chain of transforms that keeps its affine right is led back by the map
from the voxels of the one to those of the other, whoever wrote the transforms.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from math import ceil, floor
from typing import Any, Self

import numpy as np

from medssl.data.geometry import Geometry, Orientation
from medssl.data.resample import Taps, taps

_SKEW = 1e-5
"""Voxels of drift across a whole axis below which axes count as parallel."""


@dataclass(frozen=True)
class Axis:
    """How one axis of the network's grid covers the scan's.

    Attributes:
        start, stop: voxels of the scan within the network's field of view, on the turned axis.
        taps: where these lie between the voxels of the network's grid.
    """

    start: int
    stop: int
    taps: Taps


@dataclass(frozen=True)
class Record:
    """The way between the grid of a file and that of the network.

    Attributes:
        source: grid of the file.
        network: grid the network sees.
        cut: whether something of the scan was cut away; what was is background in results.
    """

    source: Geometry
    network: Geometry
    cut: bool = False

    @cached_property
    def matrix(self) -> np.ndarray:
        """4x4, from voxel indices of the source to those of the network's grid."""
        return np.asarray(np.linalg.inv(self.network.affine) @ self.source.affine)

    @cached_property
    def orientation(self) -> Orientation | None:
        """The reordering of the source's axes; None where the two grids are askew."""
        linear = self.matrix[:3, :3]
        order = [int(np.argmax(np.abs(row))) for row in linear]
        drift = np.abs(linear) * np.array(self.source.shape)
        drift[range(3), order] = 0
        if sorted(order) != [0, 1, 2] or drift.max() > _SKEW:
            return None
        x, y, z = (bool(linear[new, old] < 0) for new, old in enumerate(order))
        return Orientation((order[0], order[1], order[2]), (x, y, z))

    @cached_property
    def axes(self) -> tuple[Axis, Axis, Axis]:
        """Each axis of the network's grid; ValueError where the two grids are askew."""
        x, y, z = (self._axis(number) for number in range(3))
        return x, y, z

    def _axis(self, number: int) -> Axis:
        turn = self._turn()
        old, flip = turn.order[number], turn.flips[number]
        length, covered = self.source.shape[old], self.network.shape[number]
        along, first = float(self.matrix[number, old]), float(self.matrix[number, 3])
        step = abs(along)
        if flip:  # counted from the other end
            first += along * (length - 1)
        start, stop = 0, length
        if self.cut:
            # Voxels whose centres lie in the field of view, or beyond it by rounding.
            room = 0.5 + 0.49 * step
            start = min(length, max(0, ceil((-room - first) / step)))
            stop = max(start, min(length, floor((covered - 1 + room - first) / step) + 1))
        shift = first + start * step + 0.5 - step / 2  # from the first face to the box's
        return Axis(start, stop, taps(covered, stop - start, step, shift))

    def _turn(self) -> Orientation:
        if self.orientation is None:
            raise ValueError("the two grids are askew")
        return self.orientation

    def turned(self, array: np.ndarray) -> np.ndarray:
        """View of `array` [..., X, Y, Z] on the source grid: what the network sees, on its axes."""
        x, y, z = (slice(axis.start, axis.stop) for axis in self.axes)
        return self._turn().apply(array)[..., x, y, z]

    def to_json(self) -> str:
        """All of it as one JSON object."""
        grids = {"source": _grid_to_json(self.source), "network": _grid_to_json(self.network)}
        return json.dumps(grids | {"cut": self.cut})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The record that `to_json` wrote; exact, floats included."""
        fields = json.loads(text)
        grids = _grid_from_json(fields["source"]), _grid_from_json(fields["network"])
        return cls(*grids, fields["cut"])


def _grid_to_json(geometry: Geometry) -> dict[str, Any]:
    return {"shape": geometry.shape, "affine": geometry.affine.tolist()}


def _grid_from_json(fields: dict[str, Any]) -> Geometry:
    return Geometry(tuple(fields["shape"]), np.array(fields["affine"]))
