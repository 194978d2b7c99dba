"""TIFF files: a picture, or frames of one size as pages; whole numbers or floats.

Legend: F frames, H rows, W columns, S values of a pixel.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from medssl.data.picture.picture import Picture, must_not_be_huge, plausible, unreadable, upright
from medssl.errors import DataError

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
"""What values of a pixel mean, by the number in the file."""

_JPEG = (6, 7)
"""Compressions whose decoders turn YCbCr into RGB."""

_PER_UNIT = {2: 25.4, 3: 10.0}
"""mm of an inch and of a centimetre, by their number in the file."""

_WORDS = {"mm": 1.0, "cm": 10.0, "um": 1e-3, "\N{MICRO SIGN}m": 1e-3, "micron": 1e-3, "inch": 25.4}
"""mm of the units that ImageJ writes."""

_SCREENS = (72, 96)
"""Dots per inch that programs write which know of no size."""

# What tifffile finds odd is no matter here, or said with the file's name.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def read_tiff(path: Path) -> Picture:
    """The picture in a TIFF file; pages of one size are its frames.

    Raises:
        DataError: the file is damaged, too large, or holds pictures of several sizes.
    """
    from tifffile import TiffFile

    try:
        with TiffFile(path) as file:
            page: Any = file.pages.first
            if len(file.series) != 1:
                raise DataError(
                    f"{path} holds {len(file.series)} pictures of several sizes",
                    "which of them is meant is not said",
                    "save the one that is meant by itself",
                )
            series = file.series[0]
            must_not_be_huge(path, *series.shape)
            stored = _black_is_zero(path, page, series.asarray())
            pixels = _arranged(path, stored, series.axes)
            palette = _palette(page)
            spacing = _spacing(page, file.imagej_metadata or {})
            turn = int(_value(page, "Orientation") or 1)
    except DataError:
        raise
    except Exception as error:  # tifffile and its decoders raise whatever they meet
        raise unreadable(path, " ".join(str(error).split())[:120]) from error
    if turn >= 5 and spacing is not None:
        spacing = spacing[1], spacing[0]
    return Picture(path, upright(pixels, turn), spacing, palette)


def _black_is_zero(path: Path, page: Any, array: np.ndarray) -> np.ndarray:
    """The values, turned round where the file counts from white; of grey, RGB or a palette."""
    kind = int(page.photometric)
    decoded = kind == _YCBCR and int(page.compression) in _JPEG  # to RGB, with the pixels
    if kind not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE) and not decoded:
        raise DataError(
            f"{path} holds colours of the kind {page.photometric.name}",
            "pictures are grey, RGB or have a palette",
            "save it as one of these",
        )
    if kind != _WHITE_IS_ZERO:
        return array
    if array.dtype.kind not in "bu":
        raise DataError(
            f"{path} counts from white, in values of the type {array.dtype}",
            "which of them is black is not said",
            "save it with black as 0",
        )
    return ~array


def _arranged(path: Path, array: np.ndarray, axes: str) -> np.ndarray:
    """[F, H, W, S] from the axes that tifffile names."""
    samples = "S" if "S" in axes else "C" if "C" in axes else ""
    rest = [axis for axis in axes if axis not in ("Y", "X", samples)]
    frames = [axis for axis in rest if array.shape[axes.index(axis)] > 1]
    if "Y" not in axes or "X" not in axes or len(frames) > 1:
        raise DataError(
            f"{path} is no picture",
            f"it has the axes {axes} of {'x'.join(map(str, array.shape))}",
            "save it with rows, columns and, if need be, frames",
        )
    alone = [axis for axis in rest if axis not in frames]
    order = [axes.index(axis) for axis in (*alone, *frames, "Y", "X", *samples)]
    turned = array.transpose(order)[(0,) * len(alone)]
    if not frames:
        turned = turned[None]
    if array.dtype == bool:
        turned = turned.astype(np.uint8)
    return np.asarray(turned if samples else turned[..., None])


def _palette(page: Any) -> np.ndarray | None:
    """[N, 3] uint8."""
    if page.photometric != _PALETTE or page.colormap is None:
        return None
    return (np.asarray(page.colormap).T >> 8).astype(np.uint8)


def _value(page: Any, tag: str) -> Any:
    found = page.tags.get(tag)
    return None if found is None else found.value


def _spacing(page: Any, imagej: dict[str, Any]) -> tuple[float, float] | None:
    across, down = (_dots(_value(page, tag)) for tag in ("XResolution", "YResolution"))
    if across is None or down is None or across == down == 1:  # one per inch: not said
        return None
    given = _value(page, "ResolutionUnit")
    unit = 2 if given is None else int(given)  # that of no unit counts as false
    size = _PER_UNIT.get(unit) or _WORDS.get(str(imagej.get("unit", "")).strip().lower())
    if size is None or (unit == 2 and {round(across), round(down)} <= set(_SCREENS)):
        return None
    return plausible(size / down, size / across)


def _dots(value: Any) -> float | None:
    """Pixels per unit of a fraction."""
    try:
        over, under = value
        found = float(over) / float(under)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return found if found > 0 else None
