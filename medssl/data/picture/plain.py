"""PNG, JPEG and BMP files, as a viewer shows them: turned as their EXIF data say."""

import struct
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medssl.data.picture.picture import Picture, must_not_be_huge, plausible, unreadable, upright
from medssl.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

DAMAGE = (
    OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, AttributeError,
    ArithmeticError, MemoryError, RuntimeError, struct.error, zlib.error,
)  # fmt: skip
"""Errors that Pillow and imagecodecs raise on damaged files."""

_AS_THEY_ARE = ("L", "LA", "I;16", "I", "RGB", "RGBA")
"""Modes of Pillow whose values are read as they are; others become RGB."""

_SCREENS = (72, 96)
"""Dots per inch that programs write which know of no size."""

# Too large ones are refused by a limit of our own, with the file's name.
warnings.filterwarnings("ignore", "Image size .* exceeds limit", RuntimeWarning)


def read_plain(path: Path) -> Picture:
    """The picture in a PNG, JPEG or BMP file of up to 16 bits, grey, in colour or with a palette.

    Raises:
        DataError: the file is damaged, too large, or holds several pictures.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG", "JPEG", "BMP", "DIB")) as image:
            must_not_be_huge(path, image.height, image.width)
            _must_be_one(path, image)
            pixels, palette = _decoded(path, image)
            spacing = _spacing(image.info.get("dpi"))
            turn = int(image.getexif().get(0x0112, 1))
    except Image.DecompressionBombError as error:
        raise DataError(f"{path} is too large", str(error)) from error
    except DataError:
        raise
    except DAMAGE as error:
        raise unreadable(path) from error
    if turn >= 5 and spacing is not None:
        spacing = spacing[1], spacing[0]
    return Picture(path, upright(pixels, turn), spacing, palette)


def _must_be_one(path: Path, image: "Image.Image") -> None:
    pictures = getattr(image, "n_frames", 1)
    if pictures > 1:
        raise DataError(
            f"{path} holds {pictures} pictures",
            "frames are read from TIFF and DICOM files alone",
            "save each as a file, or all as the pages of a TIFF file",
        )


def _decoded(path: Path, image: "Image.Image") -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels [1, H, W, S], and the colours of a palette."""
    tiles = getattr(image, "tile", ())  # how Pillow is going to decode it
    if tiles and ";16" in str(tiles[0][3]) and not image.mode.startswith("I"):
        from imagecodecs import png_decode  # Pillow keeps 8 bits of every colour

        return _with_axes(np.asarray(png_decode(path.read_bytes()))), None
    if image.mode == "P":
        colours = image.getpalette("RGB") or []
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(colours) // 3] = np.reshape(colours, (-1, 3))
        if not image.has_transparency_data:
            return _with_axes(np.asarray(image)), palette
        return _with_axes(np.asarray(image.convert("RGBA"))), None
    if image.mode == "1":
        return _with_axes(np.asarray(image).astype(np.uint8)), None
    kept = image if image.mode in _AS_THEY_ARE else image.convert("RGB")
    return _with_axes(np.asarray(kept)), None


def _with_axes(pixels: np.ndarray) -> np.ndarray:
    return pixels[None, ..., None] if pixels.ndim == 2 else pixels[None]


def _spacing(dots: object) -> tuple[float, float] | None:
    """The distances of rows and of columns in mm, of dots per inch along rows and down columns."""
    if not isinstance(dots, tuple) or len(dots) != 2:
        return None
    across, down = (float(one) for one in dots)
    if min(across, down) <= 0 or {round(across), round(down)} <= set(_SCREENS):
        return None
    return plausible(25.4 / down, 25.4 / across)
