"""MetaImage files, .mha and .mhd.

They are not read by ITK, which overlooks units and checksums, would open whatever file a header
names, returns whatever lies in memory where the length of compressed data is not given, and prints
what it does not like. The format: itk.org/Wiki/ITK/MetaIO/Documentation.
"""

import math
from pathlib import Path

import numpy as np

from medssl.data.blocks import Block, unreadable
from medssl.data.geometry import Geometry
from medssl.data.headers import (
    LONGEST,
    beside,
    known,
    millimetres,
    shown,
    whole_number,
    whole_numbers,
)
from medssl.data.stored import LPS_TO_RAS, Axes, Stored, find_axes, grid
from medssl.errors import DataError

_KINDS = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}


_MATRIX = ("TransformMatrix", "Rotation", "Orientation")
_ORIGIN = ("Offset", "Position", "Origin")
_SPACING = ("ElementSpacing", "ElementSize")
"""Keys that mean the same; the first counts."""


def open_metaimage(path: Path) -> Stored:
    """What the header says, weighed against the length of the data.

    `DistanceUnits` are heeded; mm where missing.

    Raises:
        DataError: it is no MetaImage file or no volume; the header contradicts itself, names data
            that do not lie beside it, or claims more than they can hold.
    """
    fields, end = _fields(path)
    lengths = whole_numbers(path, "DimSize", fields.get("DimSize", ""))
    channels = whole_number(path, "number of channels", fields.get("ElementNumberOfChannels", "1"))
    if fields.get("NDims") != str(len(lengths)):
        raise unreadable(path, "its header does not say how many axes it has")
    lengths, colours = ((channels, *lengths), 0) if channels != 1 else (lengths, None)
    axes = find_axes(path, lengths, colours)
    block = _block(path, fields, end, math.prod(lengths))
    block.must_fit()
    return Stored(_geometry(path, fields, axes, int(fields["NDims"])), block, axes)


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """Lines `key = value`, of which that of the data is the last; the byte at which they end."""
    with path.open("rb") as file:
        fields: dict[str, str] = {}
        while "ElementDataFile" not in fields:
            line = file.readline(LONGEST)
            key, equals, value = line.decode("latin-1").partition("=")
            if not equals or file.tell() > LONGEST:
                raise unreadable(path, "it does not begin as a MetaImage file does")
            fields[key.strip()] = value.strip()
        return fields, file.tell()


def _geometry(path: Path, fields: dict[str, str], axes: Axes, dimension: int) -> Geometry:
    """The grid; a row of the matrix is the direction of an axis, in LPS."""
    matrix = _numbers(path, fields, _MATRIX, np.eye(dimension))
    origin = _numbers(path, fields, _ORIGIN, np.zeros(dimension))
    spacing = _numbers(path, fields, _SPACING, np.ones(dimension))
    affine = np.eye(4)
    affine[:3, :3] = matrix[:3, :3].T * spacing[:3]
    affine[:3, 3] = origin[:3]
    affine[:3] *= millimetres(path, fields.get("DistanceUnits", ""))
    return grid(axes.shape, LPS_TO_RAS @ affine, path)


def _numbers(
    path: Path, fields: dict[str, str], keys: tuple[str, ...], default: np.ndarray
) -> np.ndarray:
    """The numbers under the first of `keys` that there is, in the shape of `default`."""
    key = next((key for key in keys if key in fields), None)
    if key is None:
        return default
    try:
        return np.array(fields[key].split(), np.float64).reshape(default.shape)
    except ValueError as error:
        raise unreadable(path, f"its {key} is '{shown(fields[key])}'") from error


def _block(path: Path, fields: dict[str, str], end: int, count: int) -> Block:
    kind = np.dtype(known(path, "ElementType", fields.get("ElementType", ""), _KINDS))
    swapped = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", ""))
    kind = kind.newbyteorder(">" if _is_true(swapped) else "<")
    name = fields["ElementDataFile"]
    local = name.upper() == "LOCAL"
    data, start = (path, end) if local else (beside(path, name), 0)
    skip = whole_number(path, "HeaderSize", fields.get("HeaderSize", "0"))
    packed = _is_true(fields.get("CompressedData", ""))
    if (skip > 0 and local) or (skip < 0 and packed):
        raise DataError(
            f"{path} cannot be read",
            f"its HeaderSize of {skip} does not say where its data begin",
            "leave HeaderSize out",
        )
    if not _is_true(fields.get("BinaryData", "True")):
        return Block(path, data, start + skip, kind, count, "text")
    if skip < 0:  # the data end with the file
        return Block(path, data, data.stat().st_size - count * kind.itemsize, kind, count)
    block = Block(path, data, start + skip, kind, count, "deflated" if packed else "raw")
    size = whole_number(path, "CompressedDataSize", fields.get("CompressedDataSize", "0"))
    if packed and data.stat().st_size - block.start < size:
        raise unreadable(path, f"its header claims {size} bytes of compressed voxels")
    return block


def _is_true(word: str) -> bool:
    return word[:1] in ("T", "t", "1")
