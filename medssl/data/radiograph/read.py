"""Radiographs from DICOM or picture files, and the square crops that a network sees.

Source of normalisation and crops: Semixup (sheet, section 8). Pixels are averaged over areas once,
from the file to the crop, and rounded to bytes at the end; the release rounds after every step.

Legend: H W pixels of the file, V crops of an image, S pixels of a side.
"""

from pathlib import Path

import numpy as np

from medssl.data.radiograph.dicom import DICOM, read_dicom
from medssl.data.radiograph.image import Radiograph
from medssl.data.radiograph.picture import PICTURES, read_picture
from medssl.data.radiograph.settings import CropSettings
from medssl.errors import DataError


def is_radiograph(path: Path) -> bool:
    """Whether the name is that of a picture or a DICOM file; hidden files are none.

    DICOM files often have no suffix, or dotted numbers for a name.
    """
    suffix = path.suffix.lower()
    named = suffix in (*PICTURES, *DICOM) or suffix[1:].isdecimal() or not suffix
    return named and not path.name.startswith(".") and path.name != "DICOMDIR"


def stem(path: Path) -> str:
    """File name without its image suffix; a DICOM file may be named by dotted numbers alone."""
    return path.stem if path.suffix.lower() in (*PICTURES, *DICOM) else path.name


def read_radiograph(path: Path) -> Radiograph:
    """The image in a PNG, JPEG or DICOM file; every file with another suffix counts as DICOM.

    Pictures are turned as their EXIF data say; of DICOM, values are rescaled, and those of
    MONOCHROME1 inverted: maximum - value.

    Raises:
        DataError: the file is missing, damaged, in colour, of several frames or no radiograph.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist", do="run `medssl data check`")
    read = read_picture if path.suffix.lower() in PICTURES else read_dicom
    found = read(path)
    low, high = float(found.pixels.min()), float(found.pixels.max())
    if not np.isfinite(high - low):
        raise DataError(
            f"{path} has values that are not finite once they are rescaled",
            "its rescale slope or intercept is wrong",
            "export the image again or remove it",
        )
    if low == high:
        raise DataError(
            f"{path} has the value {found.pixels.flat[0]:g} in every pixel",
            do="export the image again or remove it",
        )
    return found


def make_crops(image: Radiograph, settings: CropSettings) -> np.ndarray:
    """The crops of an image, [V, S, S] uint8; they keep the aspect of the body.

    Raises:
        DataError: the settings ask for mm or for a side, and the image does not say them.
    """
    pixels = normalise(image, settings.percentiles)
    if settings.mirrored is not None and image.side is None:
        raise DataError(
            f"{image.source} does not say whether it is of the left or the right side",
            f"{settings.mirror or 'left'} images are to be mirrored",
            "name its column in the data spec (layout.columns.side), give --set side=L or R when "
            "predicting, or set crop.mirror=none",
        )
    if settings.mirrored is not None and image.side == settings.mirrored:
        pixels = pixels[:, ::-1]
    if settings.field is None:
        wide = max(pixels.shape[0] * image.stretch, float(pixels.shape[1]))
        high = wide / image.stretch
    elif image.spacing is None:
        raise DataError(
            f"{image.source} does not say its pixel spacing",
            f"a field of {settings.field:g} mm is asked for",
            "state it in the data spec (layout.spacing), give --set spacing=MM when predicting, or "
            "set crop.field=null",
        )
    else:
        high, wide = settings.field / image.spacing[0], settings.field / image.spacing[1]
    top, left = (pixels.shape[0] - high) / 2, (pixels.shape[1] - wide) / 2
    found = []
    for view in settings.views:
        rows, columns = _place(settings, view)
        down = _averaging(pixels.shape[0], top, high, rows, settings.side)
        across = _averaging(pixels.shape[1], left, wide, columns, settings.side)
        crop = down @ pixels @ across.T
        found.append(crop[:, ::-1] if view == "medial" else crop)
    crops: np.ndarray = np.rint(np.stack(found)).clip(0, 255).astype(np.uint8)
    return crops


def normalise(image: Radiograph, percentiles: tuple[float, float]) -> np.ndarray:
    """Pixels [H, W] clipped to percentiles of the image and stretched to 0 ... 255, float32.

    Raises:
        DataError: the percentiles are equal, so the image shows nothing.
    """
    low, high = np.percentile(image.pixels, percentiles)
    if low == high:
        raise DataError(
            f"{image.source} shows nothing",
            f"its percentiles {percentiles[0]:g} and {percentiles[1]:g} are both {low:g}",
            "export the image again or remove it",
        )
    stretched = (image.pixels.clip(low, high) - low) * (255 / (high - low))
    return np.asarray(stretched, np.float32)


def _place(settings: CropSettings, view: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """Rows and columns of a crop as shares of the square."""
    if view == "whole":
        return (0.0, 1.0), (0.0, 1.0)
    grid, wide = settings.grid, settings.columns / settings.grid
    rows = settings.rows[0] / grid, settings.rows[1] / grid
    return rows, (0.0, wide) if view == "lateral" else (1 - wide, 1.0)


def _averaging(
    length: int, start: float, span: float, part: tuple[float, float], side: int
) -> np.ndarray:
    """[S, length] share of each source pixel in each of S target pixels; none beyond the image.

    Args:
        length: pixels of the source.
        start, span: of the square on the source, in its pixels.
        part: of the square, as shares.
    """
    edges = start + span * np.linspace(*part, side + 1)
    low = np.maximum(edges[:-1, None], np.arange(length))
    high = np.minimum(edges[1:, None], np.arange(1, length + 1))
    share = (high - low).clip(min=0) / np.diff(edges)[:, None]
    return np.asarray(share, np.float32)
