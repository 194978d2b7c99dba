"""Radiographs from DICOM or picture files."""

from pathlib import Path

import numpy as np

from medssl.data.files import DICOM
from medssl.data.radiograph.image import Radiograph
from medssl.data.radiograph.picture import PICTURES, read_picture
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
    if path.suffix.lower() in PICTURES:
        found = read_picture(path)
    else:
        from medssl.data.radiograph.dicom import read_dicom

        found = read_dicom(path)
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
