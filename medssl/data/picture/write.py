"""Masks and maps as pictures: PNG for masks of one frame, TIFF for frames and for maps.

Legend: X Y pixels along rows and columns, F frames.
"""

from pathlib import Path

import numpy as np

from medssl.data.geometry import Geometry
from medssl.errors import UsageError


def write_png(array: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Write a uint8 or uint16 image [X, Y, 1], with the sides of a pixel where they are known.

    Raises:
        UsageError: it has several frames.
    """
    from PIL import Image

    _must_be_flat(array, path)
    spacing = _known(geometry)
    scale = {} if spacing is None else {"dpi": (25.4 / spacing[0], 25.4 / spacing[1])}
    Image.fromarray(np.ascontiguousarray(array[..., 0].T)).save(path, "PNG", **scale)


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
            "set predict.format=tiff",
        )


def _known(geometry: Geometry) -> tuple[float, float] | None:
    """Sides of a pixel along rows and columns; None where they are the 1 mm of unknown ones."""
    across, down, _ = geometry.spacing
    return None if (across, down) == (1.0, 1.0) else (across, down)
