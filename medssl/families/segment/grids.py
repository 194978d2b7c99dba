"""How large scans will be on the network's grid, by their headers and a few that were prepared."""

from collections.abc import Iterable, Sequence

import numpy as np

from medssl.data.geometry import Geometry, Triple
from medssl.data.record import Record


def foreseen(records: Sequence[Record], grids: Iterable[Geometry]) -> list[Triple]:
    """Shapes of scans on the network's grid.

    What a chain of transforms leaves of a side, as where it cuts off air, is taken to be what it
    left on average of those that were prepared; to which spacing it resamples, and how it turns
    axes, is read from them as well. Where they kept their spacing, so do the others.

    Args:
        records: of scans that were prepared, at least one.
        grids: of the files of those that are asked about.
    """
    model = records[0].network
    spacings = np.array([_of_world(one.network, one.network.spacing) for one in records])
    kept = all(
        np.allclose(own, _of_world(one.source, one.source.spacing))
        for own, one in zip(spacings, records, strict=True)
    )
    share = np.mean([_sides(one.network) / _sides(one.source) for one in records], axis=0)

    def shape(grid: Geometry) -> Triple:
        spacing = _of_world(grid, grid.spacing) if kept else spacings[0]
        counts = np.maximum(1, np.rint(share * _sides(grid) / spacing)).astype(int)
        x, y, z = (int(counts[world]) for world in model.closest)
        return x, y, z

    return [shape(grid) for grid in grids]


def _sides(grid: Geometry) -> np.ndarray:
    """Millimetres from right to left, from front to back and from top to bottom, [3]."""
    return _of_world(grid, np.array(grid.spacing) * grid.shape)


def _of_world(grid: Geometry, values: Sequence[float] | np.ndarray) -> np.ndarray:
    """A value of each voxel axis as one of the patient axis that is closest to it, [3]."""
    found = np.empty(3)
    found[list(grid.closest)] = values
    return found
