"""Masks and maps as pictures: PNG for masks of one frame, TIFF for frames and for maps.

Legend: X Y pixels along rows and columns, F frames.
"""

from pathlib import Path
from typing import BinaryIO

import numpy as np

from medssl.data.geometry import Geometry
from medssl.errors import UsageError


def write_png(array: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Write a uint8 or uint16 image [X, Y, 1], with the sides of a pixel where they are known.

    Raises:
        UsageError: it has several frames.
    """
    _must_be_flat(array, path)
    save_png(array[..., 0], geometry, path)


def save_png(array: np.ndarray, geometry: Geometry, to: Path | BinaryIO) -> None:
    """Write a uint8 or uint16 image [X, Y] into a file, with the sides of a pixel if known."""
    from PIL import Image

    spacing = _known(geometry)
    scale = {} if spacing is None else {"dpi": (25.4 / spacing[0], 25.4 / spacing[1])}
    Image.fromarray(np.ascontiguousarray(array.T)).save(to, "PNG", **scale)


def write_tiff(array: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Write a uint8 mask or a float32 map [X, Y, F], a page for each frame."""
    from tifffile import imwrite

    pages = np.ascontiguousarray(array.transpose(2, 1, 0))
    spacing = _known(geometry)
    scale = {} if spacing is None else {
        "resolution": (10 / spacing[0], 10 / spacing[1]), "resolutionunit": "CENTIMETER",
    }  # fmt: skip
    imwrite(path, pages[0] if len(pages) == 1 else pages, photometric="minisblack",
            compression="zlib", metadata=None, **scale)  # fmt: skip


def _must_be_flat(array: np.ndarray, path: Path) -> None:
    if array.shape[2] > 1:
        raise UsageError(
            f"{path} cannot hold a mask of {array.shape[2]} frames",
            "a PNG file has one",
            "let its name end in .png.zip, a PNG for each, or in .tif",
        )


def _known(geometry: Geometry) -> tuple[float, float] | None:
    """Sides of a pixel along rows and columns; None where they are the 1 mm of unknown ones."""
    across, down, _ = geometry.spacing
    return None if (across, down) == (1.0, 1.0) else (across, down)
