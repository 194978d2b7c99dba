"""What preprocessing did to a volume, so that it can be undone, in memory and on disk."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from medssl.data.geometry import Geometry, Orientation
from medssl.data.intensity import Intensity

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Record:
    """The way from the source grid to the network grid: crop, reorder axes, resample.

    Attributes:
        source: grid of the file.
        start, stop: the box kept, in source voxels.
        orientation: reordering of the axes of the box.
        network: grid the network sees.
        intensity: treatment of each channel.
    """

    source: Geometry
    start: Triple
    stop: Triple
    orientation: Orientation
    network: Geometry
    intensity: tuple[Intensity, ...]

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """The box kept, as slices of the source array."""
        x, y, z = (slice(low, high) for low, high in zip(self.start, self.stop, strict=True))
        return x, y, z

    @property
    def turned_shape(self) -> Triple:
        """Shape of the box on the network's axes, before resampling."""
        size = [high - low for low, high in zip(self.start, self.stop, strict=True)]
        first, second, third = self.orientation.order
        return size[first], size[second], size[third]

    def turned(self, array: np.ndarray) -> np.ndarray:
        """View of `array` [..., X, Y, Z] on the source grid: the box, on the network's axes."""
        return self.orientation.apply(array[(..., *self.box)])

    def to_json(self) -> str:
        """All of it as one JSON object."""
        return json.dumps(
            {
                "source": _grid_to_json(self.source),
                "start": self.start,
                "stop": self.stop,
                "orientation": asdict(self.orientation),
                "network": _grid_to_json(self.network),
                "intensity": [asdict(channel) for channel in self.intensity],
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The record that `to_json` wrote; exact, floats included."""
        fields = json.loads(text)
        turn = fields["orientation"]
        return cls(
            source=_grid_from_json(fields["source"]),
            start=tuple(fields["start"]),
            stop=tuple(fields["stop"]),
            orientation=Orientation(tuple(turn["order"]), tuple(turn["flips"])),
            network=_grid_from_json(fields["network"]),
            intensity=tuple(Intensity(**channel) for channel in fields["intensity"]),
        )


def _grid_to_json(geometry: Geometry) -> dict[str, Any]:
    return {"shape": geometry.shape, "affine": geometry.affine.tolist()}


def _grid_from_json(fields: dict[str, Any]) -> Geometry:
    return Geometry(tuple(fields["shape"]), np.array(fields["affine"]))
