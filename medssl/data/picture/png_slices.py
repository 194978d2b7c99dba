"""A volume as pictures: a zip file with a PNG for each slice, and the grid that they form.

The slices are those along the third axis of the volume, in its own order: 0001.png is the first.
What a picture shows from left to right is the first axis, from top to bottom the second. grid.json
says where they lie, so that a mask is read again as it was.

Legend: X Y voxels along rows and columns of a slice, Z slices.
"""

import json
import zipfile
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path

import numpy as np

from medssl.data.blocks import Block, unreadable
from medssl.data.geometry import Geometry, Triple
from medssl.data.picture.plain import DAMAGE
from medssl.data.picture.write import save_png
from medssl.data.stored import Stored, find_axes, grid

_GRID = "grid.json"
_LONGEST = 2**14  # bytes of the grid, and of what a picture has beside its pixels
_MODES = {"uint8": ("L",), "uint16": ("I;16", "I")}
"""Modes of Pillow for each type of values."""

# Zip files cannot say "no date"; a fixed one says nothing, and makes equal masks equal files.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_DAMAGE = (*DAMAGE, zipfile.BadZipFile, NotImplementedError, RecursionError)


def write_png_slices(array: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Write a uint8 or uint16 mask [X, Y, Z]."""
    grid = {
        "shape": list(array.shape),
        "type": str(array.dtype),
        "affine_to_ras_mm": geometry.affine.tolist(),
    }
    with zipfile.ZipFile(path, "w") as file:  # PNG is packed already
        for index in range(array.shape[2]):
            picture = BytesIO()
            save_png(array[..., index], geometry, picture)
            file.writestr(zipfile.ZipInfo(_name(index), _EPOCH), picture.getvalue())
        file.writestr(zipfile.ZipInfo(_GRID, _EPOCH), json.dumps(grid, indent=1))


def open_png_slices(path: Path) -> Stored:
    """What the file says of its grid.

    Raises:
        DataError: it is no such file, or claims more than it can hold.
    """
    try:
        with zipfile.ZipFile(path) as file:
            said = json.loads(_member(file, _GRID, _LONGEST))
        shape, kind = tuple(said["shape"]), np.dtype(said["type"])
        numbers = np.array(said["affine_to_ras_mm"]).reshape(4, 4)
        if numbers.dtype.kind not in "fi" or any(type(side) is not int for side in shape):
            raise ValueError("a text, or a part of a voxel")
        affine = numbers.astype(np.float64)
    except _DAMAGE as error:
        raise unreadable(path, "it is no zip file of pictures that medssl wrote") from error
    if len(shape) != 3 or str(kind) not in _MODES:
        raise unreadable(path, f"{_GRID} in it does not say what its pictures are")
    axes = find_axes(path, shape)
    block = _Slices(path, path, 0, kind, prod(shape), "deflated", shape=axes.shape)
    block.must_fit()
    return Stored(grid(axes.shape, affine, path), block, axes)


@dataclass(frozen=True)
class _Slices(Block):
    """The values in such a file.

    Attributes:
        shape: [X, Y, Z].
    """

    shape: Triple = (0, 0, 0)

    def must_be_whole(self) -> None:
        """Check that a file just written is complete.

        Raises:
            DataError: it is cut off or damaged.
        """
        try:
            with zipfile.ZipFile(self.file) as file:
                damaged = file.testzip()
        except _DAMAGE as error:
            raise unreadable(self.image) from error
        if damaged is not None:
            raise unreadable(self.image, f"{damaged} in it is damaged")

    def read(self) -> np.ndarray:
        """All values, [count].

        Raises:
            DataError: a picture is missing or damaged, or of another size or type.
        """
        self.must_fit()
        values = np.empty(self.count, self.kind)
        slices = values.reshape(self.shape, order="F")
        try:
            with zipfile.ZipFile(self.file) as file:
                for index in range(self.shape[2]):
                    slices[..., index] = self._slice(file, _name(index))
        except _DAMAGE as error:
            raise unreadable(self.image, " ".join(str(error).split())[:120]) from error
        return values

    def _slice(self, file: zipfile.ZipFile, name: str) -> np.ndarray:
        """[X, Y] of one picture; any of `_DAMAGE` where it is none, or another."""
        from PIL import Image

        columns, rows, _ = self.shape
        packed = _member(file, name, 2 * columns * rows * self.kind.itemsize + _LONGEST)
        with Image.open(BytesIO(packed), formats=("PNG",)) as image:
            if image.size != (columns, rows) or image.mode not in _MODES[str(self.kind)]:
                raise ValueError(f"{name} in it has another size or type than {_GRID} says")
            return np.asarray(image).T


def _member(file: zipfile.ZipFile, name: str, longest: int) -> bytes:
    """What is packed under a name; ValueError where that is more than it can be."""
    if file.getinfo(name).file_size > longest:
        raise ValueError(f"{name} in it is too large")
    return file.read(name)


def _name(index: int) -> str:
    return f"{index + 1:04d}.png"
