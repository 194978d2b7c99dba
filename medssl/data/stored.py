"""An image file as its header describes it, whatever the format: grid, axes, where values lie."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medssl.data.blocks import Block
from medssl.data.geometry import Geometry, NiftiTransforms, Triple
from medssl.errors import DataError

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From the space of DICOM, NRRD and MetaImage to medssl's; it is its own inverse."""


_BIT = 2**15  # values


@dataclass(frozen=True)
class Stored:
    """What a header says.

    Attributes:
        geometry: grid in mm.
        block: the values, the first axis fastest.
        axes: how the axes of the values are arranged.
        scaling: slope and intercept, or None where values are as stored.
    """

    geometry: Geometry
    block: Block
    axes: "Axes"
    scaling: tuple[float, float] | None = None

    def voxels(self) -> np.ndarray:
        """[C, X, Y, Z] in the file's own type, or float32 where the header rescales.

        Raises:
            DataError: the file is cut off or damaged.
        """
        values = self.block.read()
        return self.axes.arranged(values if self.scaling is None else _scaled(values, self.scaling))


@dataclass(frozen=True)
class Axes:
    """Lengths of stored axes, and which of them are space and channels.

    Attributes:
        lengths: of all axes, the fastest first.
        space: the axes X, Y and Z.
        channels: the axis of channels; None without one.
    """

    lengths: tuple[int, ...]
    space: Triple
    channels: int | None

    @property
    def shape(self) -> Triple:
        """Voxels along X, Y and Z."""
        x, y, z = (self.lengths[axis] for axis in self.space)
        return x, y, z

    def arranged(self, values: np.ndarray) -> np.ndarray:
        """`values` [count] as [C, X, Y, Z]; a view."""
        array = values.reshape(self.lengths, order="F")
        order = self.space if self.channels is None else (self.channels, *self.space)
        alone = tuple(axis for axis in range(array.ndim) if axis not in order)
        turned: np.ndarray = array.transpose(*alone, *order)[(0,) * len(alone)]
        return turned[None] if self.channels is None else turned


def _scaled(values: np.ndarray, scaling: tuple[float, float]) -> np.ndarray:
    """`values` [count], rescaled in float64 and rounded to float32; in bits that stay in cache."""
    scaled = np.empty(values.shape, np.float32)
    slope, intercept = np.float64(scaling[0]), np.float64(scaling[1])
    with np.errstate(over="ignore"):  # beyond float32 is infinite
        for start in range(0, len(values), _BIT):
            bit = slice(start, start + _BIT)
            scaled[bit] = values[bit] * slope + intercept
    return scaled


def find_axes(path: Path, lengths: tuple[int, ...], colours: int | None = None) -> Axes:
    """Space is the first three axes except `colours`; of the rest one may be longer than 1.

    Raises:
        DataError: fewer than three axes of space, or several further ones longer than 1.
    """
    space = [axis for axis in range(len(lengths)) if axis != colours]
    more = [axis for axis in range(len(lengths)) if axis not in space[:3] and lengths[axis] > 1]
    if len(space) < 3 or len(more) > 1:
        raise DataError(
            f"{path} is not a volume",
            f"it has {len(lengths)} axes" + (f" of {_by(lengths)} voxels" if more else ""),
            "give a three-dimensional image; it may have one more axis, of channels",
        )
    if min(lengths) < 1:
        raise DataError(
            f"{path} is not a volume",
            f"its header claims {_by(lengths)} voxels",
            "copy or download it again, or repair its header",
        )
    return Axes(lengths, (space[0], space[1], space[2]), more[0] if more else None)


def grid(
    shape: Triple, affine: np.ndarray, path: Path, nifti: NiftiTransforms | None = None
) -> Geometry:
    """The grid that a header declares.

    Raises:
        DataError: the affine cannot be inverted, or its voxels have no possible size.
    """
    try:
        return Geometry(shape, affine, nifti)
    except ValueError as error:
        raise DataError(f"{path} has no valid grid", str(error), "repair its header") from error


def complex_values(path: Path) -> DataError:
    """The error for complex numbers."""
    return DataError(
        f"{path} holds complex numbers",
        "an image has one real number per voxel and channel",
        "save the magnitude instead",
    )


def _by(lengths: tuple[int, ...]) -> str:
    return "x".join(str(length) for length in lengths)
