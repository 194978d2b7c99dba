"""NRRD files, .nrrd and .nhdr.

ITK finds the grid. Which bytes are the values, and what a length measures, is read here: ITK
overlooks units, and would open whatever file a header names. The format: teem.sourceforge.net/nrrd.
"""

import math
import re
from pathlib import Path
from typing import Literal

import numpy as np

from medssl.data.blocks import Block, Packing, unreadable
from medssl.data.headers import LONGEST, beside, known, millimetres, whole_number, whole_numbers
from medssl.data.itk import itk_geometry
from medssl.data.stored import Axes, Stored, complex_values, find_axes
from medssl.errors import DataError

_BLANK = rb"\r?\n\r?\n"
"""What ends a header."""

_USUAL = 2**12  # bytes that most headers have at most

_SPACE = ("", "domain", "space", "time", "none", "???")
"""Kinds of axes along which voxels lie; the others are of channels."""

_C_TYPES = {
    "int8": ("signed char",),
    "uint8": ("uchar", "unsigned char"),
    "int16": ("short", "short int", "signed short", "signed short int"),
    "uint16": ("ushort", "unsigned short", "unsigned short int"),
    "int32": ("int", "signed int"),
    "uint32": ("uint", "unsigned int"),
    "int64": ("longlong", "long long", "long long int", "signed long long", "signed long long int"),
    "uint64": ("ulonglong", "unsigned long long", "unsigned long long int"),
    "float32": ("float",),
    "float64": ("double",),
}
_KINDS = {
    word: kind
    for kind, names in _C_TYPES.items()
    for word in (*names, *((kind, f"{kind}_t") if "int" in kind else ()))
}
_ORDERS: dict[str, Literal["<", ">"]] = {"little": "<", "big": ">"}
_PACKINGS: dict[str, Packing] = {
    "raw": "raw",
    "gz": "deflated",
    "gzip": "deflated",
    "txt": "text",
    "text": "text",
    "ascii": "text",
}


def open_nrrd(path: Path) -> Stored:
    """What the header says, weighed against the length of the data.

    `space units` and, where only spacings are given, `units` are heeded; both are mm where missing.

    Raises:
        DataError: it is no NRRD file, no volume, or holds complex numbers; the header contradicts
            itself, names data that do not lie beside it, or claims more than they can hold.
    """
    fields, block, axes = _described(path)
    return Stored(itk_geometry(path, axes.shape, _units(path, fields, axes)), block, axes)


def nrrd_must_be_whole(path: Path) -> None:
    """Check that a file just written is complete; ITK, which wrote it, is not asked for its grid.

    Raises:
        DataError: it is cut off.
    """
    _described(path)[1].must_be_whole()


def _described(path: Path) -> tuple[dict[str, str], Block, Axes]:
    """The lines of the header, where the values lie, and how they are arranged."""
    fields, end = _fields(path)
    lengths = whole_numbers(path, "sizes", fields.get("sizes", ""))
    kinds = fields.get("kinds", "").lower().split() or [""] * len(lengths)
    if len(kinds) != len(lengths) or fields.get("dimension") != str(len(lengths)):
        raise unreadable(path, "its header does not say how many axes it has")
    if any(kind.startswith("complex") for kind in kinds):
        raise complex_values(path)
    axes = find_axes(path, lengths, _colours(path, fields, kinds))
    block = _block(path, fields, end, math.prod(lengths))
    block.must_fit()
    return fields, block, axes


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """Lines `key: value`, keys in small letters without blanks; the byte at which they end."""
    with path.open("rb") as file:
        head = file.read(_USUAL)
        if not re.search(_BLANK, head):
            head += file.read(LONGEST)
    if not head.startswith(b"NRRD"):
        raise unreadable(path, "it does not begin as a NRRD file does")
    blank = re.search(_BLANK, head)
    if blank is None and len(head) > LONGEST:
        raise unreadable(path, "its header does not end")
    text = head[: blank.start()] if blank else head
    fields = {}
    for line in text.decode("utf-8", "replace").splitlines()[1:]:
        key, colon, value = line.partition(":")
        if colon and not key.startswith("#") and not value.startswith("="):
            fields[key.replace(" ", "").lower()] = value.strip()
    return fields, blank.end() if blank else len(head)


def _colours(path: Path, fields: dict[str, str], kinds: list[str]) -> int | None:
    """The axis of channels, as the header declares it; None without one."""
    found = [axis for axis, kind in enumerate(kinds) if kind not in _SPACE]
    if len(found) > 1:
        raise DataError(
            f"{path} is not a volume",
            f"its axes {' and '.join(str(axis + 1) for axis in found)} are both of channels",
            "give a three-dimensional image with at most one axis of channels",
        )
    directions = re.findall(r"none|\([^)]*\)", fields.get("spacedirections", "").lower())
    for axis, direction in enumerate(directions):
        if direction == "none" and axis not in found:
            raise DataError(
                f"{path} does not say what its axis {axis + 1} is",
                "it has no direction in space and is not declared as one of channels",
                f"write 'list' as its kind, the word {axis + 1} of `kinds:`",
            )
    return found[0] if found else None


def _block(path: Path, fields: dict[str, str], end: int, count: int) -> Block:
    kind = np.dtype(known(path, "type", fields.get("type", "").lower(), _KINDS))
    packing = known(path, "encoding", fields.get("encoding", "").lower(), _PACKINGS)
    if kind.itemsize > 1 and packing != "text":
        kind = kind.newbyteorder(known(path, "endian", fields.get("endian", "").lower(), _ORDERS))
    name = fields.get("datafile")
    data, start = (path, end) if name is None else (beside(path, name), 0)
    lines, skip = (
        whole_number(path, f"{key} skip", fields.get(f"{key}skip", "0")) for key in ("line", "byte")
    )
    with data.open("rb") as file:
        file.seek(start)
        for _ in range(lines):
            if not file.readline(LONGEST):
                break
        start = file.tell()
    if packing == "deflated":
        return Block(path, data, start, kind, count, packing, max(0, skip))
    if skip < 0:  # the data end with the file
        return Block(path, data, data.stat().st_size - count * kind.itemsize, kind, count, packing)
    return Block(path, data, start + skip, kind, count, packing)


def _units(path: Path, fields: dict[str, str], axes: Axes) -> tuple[float, float, float]:
    """What lengths along each axis of space measure, mm."""
    space = fields.get("space", "").lower()
    if space.endswith("-time") or space in ("rast", "last", "lpst"):
        raise DataError(
            f"{path} lies in space and time",
            f"its header gives the space '{space}'",
            "give it a space without time, e.g. left-posterior-superior",
        )
    if "spacedirections" in fields:
        words = re.findall(r'"([^"]*)"', fields.get("spaceunits", ""))
        words += [""] * (3 - len(words))
    else:
        every = re.findall(r'"([^"]*)"', fields.get("units", "")) + [""] * len(axes.lengths)
        words = [every[axis] for axis in axes.space]
    x, y, z = (millimetres(path, word) for word in words[:3])
    return x, y, z
