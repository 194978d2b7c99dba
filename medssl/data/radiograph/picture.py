"""Radiographs from PNG and JPEG files, as a viewer shows them."""

import struct
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medssl.data.radiograph.image import Radiograph, must_not_be_huge, unreadable
from medssl.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

PICTURES = (".png", ".jpg", ".jpeg")

_DAMAGE = (
    OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, AttributeError,
    ArithmeticError, MemoryError, struct.error, zlib.error,
)  # fmt: skip
"""Errors that Pillow raises on damaged files."""

_PLANES = ("1", "L", "I;16", "I", "RGB")
"""Modes of Pillow whose values are read as they are; others become RGB."""

# Too large ones are refused by a limit of our own, with the file's name.
warnings.filterwarnings("ignore", "Image size .* exceeds limit", RuntimeWarning)


def read_picture(path: Path) -> Radiograph:
    """The image in a PNG or JPEG file, turned as its EXIF data say.

    Grey may be stored in planes, in a palette or as CMYK, in up to 16 bits.

    Raises:
        DataError: the file is damaged, too large, in colour, partly transparent or of several
            pictures.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            must_not_be_huge(path, image.height, image.width)
            _must_be_one_picture(path, image)
            ImageOps.exif_transpose(image, in_place=True)
            pixels = np.asarray(image if image.mode in _PLANES else image.convert("RGB"))
    except Image.DecompressionBombError as error:
        raise DataError(f"{path} is too large for a radiograph", str(error)) from error
    except _DAMAGE as error:
        raise unreadable(path) from error
    if pixels.ndim == 3:
        if (pixels != pixels[..., :1]).any():
            raise DataError(
                f"{path} is in colour", "a radiograph is grey", "export it without annotations"
            )
        pixels = pixels[..., 0]
    return Radiograph(str(path), pixels.astype(np.float32))


def _must_be_one_picture(path: Path, image: "Image.Image") -> None:
    """Refuse what would be read in part: several pictures, more than 16 bits, transparency."""
    pictures = getattr(image, "n_frames", 1)
    if pictures > 1:
        raise DataError(
            f"{path} is no radiograph", f"it holds {pictures} pictures", "export one grey image"
        )
    tiles = getattr(image, "tile", ())  # how Pillow is going to decode it
    if tiles and ";16" in str(tiles[0][3]) and not image.mode.startswith("I"):
        raise DataError(
            f"{path} holds 16 bits of every colour",
            "16 bits are read of grey pictures only",
            "export it as a grey picture, or as DICOM",
        )
    if image.has_transparency_data and not _is_opaque(image):
        raise DataError(
            f"{path} is transparent in places",
            "how bright they are depends on what lies beneath",
            "export it without transparency",
        )


def _is_opaque(image: "Image.Image") -> bool:
    if image.mode.startswith("I"):  # Pillow cannot tell where its one transparent value is
        return False
    return image.convert("RGBA").getchannel("A").getextrema() == (255, 255)
