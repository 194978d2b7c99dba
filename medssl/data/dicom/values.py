"""The values of a DICOM series: each slice rescaled by its own slope and intercept.

Nothing else touches them: they are not inverted where a screen would show them so (MONOCHROME1),
and padding stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medssl.data.dicom.series import Series, find_series
from medssl.data.dicom.stored import DAMAGE, PIXEL_TAGS, plain_values, stored_values
from medssl.data.dicom.tags import Slice
from medssl.data.geometry import Geometry
from medssl.errors import DataError

_WHOLE = (np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.int64)


def read_series(folder: Path) -> tuple[np.ndarray, Geometry]:
    """Values [1, X, Y, Z] of the series in `folder`, and their grid.

    Whole numbers stay integers where all slopes and intercepts are whole; else they are float32.

    Raises:
        DataError: as `find_series`; or the values of a slice cannot be decoded.
    """
    series = find_series(folder)
    return values_of(series), series.geometry


def values_of(series: Series) -> np.ndarray:
    """Values [1, X, Y, Z] of a series, as `read_series`.

    Raises:
        DataError: the values of a slice cannot be decoded.
    """
    kind = _kind(series.slices)
    values = np.empty((len(series.slices), *series.slices[0].shape), kind)
    opened = _Opened()
    for plane, one in zip(values, series.slices, strict=True):
        _rescale(_stored(one, opened), one, plane)
    return values.T[None]


def plane_of(one: Slice) -> np.ndarray:
    """Values [rows, columns] of one slice, rescaled, float64.

    Raises:
        DataError: they cannot be decoded.
    """
    return _stored(one, _Opened()) * float(one.slope) + one.intercept


def _kind(slices: Sequence[Slice]) -> np.dtype:
    """The smallest type that holds all values, and all that occurs on the way to them."""
    factors = {factor for one in slices for factor in (one.slope, one.intercept)}
    if not all(factor.is_integer() for factor in factors):
        return np.dtype(np.float32)
    ends = {end for one in slices for end in (*one.range, *one.stored)} | factors
    ends |= {value * one.slope for one in slices for value in one.stored}
    for kind in _WHOLE:
        limits = np.iinfo(kind)
        if limits.min <= min(ends) and max(ends) <= limits.max:
            return np.dtype(kind)
    return np.dtype(np.float32)


def _rescale(stored: np.ndarray, one: Slice, plane: np.ndarray) -> None:
    """Put the rescaled values into `plane`."""
    if plane.dtype.kind == "f":
        plane[...] = stored * one.slope + one.intercept
        return
    plane[...] = stored
    if one.slope != 1:
        plane *= int(one.slope)
    if one.intercept != 0:
        plane += int(one.intercept)


@dataclass
class _Opened:
    """The file that was read last: its frames lie one behind the other."""

    path: Path | None = None
    header: Any = None

    def read(self, path: Path) -> Any:
        """Pydicom's dataset of a file, with its pixels."""
        from pydicom import dcmread

        if path != self.path:
            self.header = dcmread(path, force=True, specific_tags=list(PIXEL_TAGS))
            self.path = path
        return self.header


def _stored(one: Slice, opened: _Opened) -> np.ndarray:
    """The values [rows, columns] that the file of a slice stores."""
    allocated, counting = one.bits
    syntax = "none stated"
    try:
        if one.pixels_at is not None:
            kind = np.dtype(f"<{'i' if one.signed else 'u'}{allocated // 8}")
            return plain_values(one.path, one.pixels_at, one.shape, kind, counting)
        header = opened.read(one.path)
        syntax = _syntax_name(header)
        values = stored_values(header, one.frame)
    except DAMAGE as error:
        raise DataError(
            f"the pixels of {one.path} cannot be read",
            f"it is cut off or damaged, or its transfer syntax ({syntax}) is not decoded here",
            "copy the series again, or decompress it, e.g. with `gdcmconv --raw`",
        ) from error
    low, high = one.stored
    if values.shape != one.shape or values.min() < low or values.max() > high:
        raise DataError(
            f"the pixels of {one.path} cannot be read",
            "they are not what its header says: of other size, or beyond its BitsStored",
            "export the series again from its archive",
        )
    return values


def _syntax_name(header: Any) -> str:
    """How the standard names the transfer syntax."""
    from pydicom.uid import UID_dictionary

    uid = header.file_meta.get("TransferSyntaxUID")
    return str(uid.name) if uid in UID_dictionary else "unknown"
