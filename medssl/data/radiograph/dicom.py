"""Radiographs from DICOM files.

Only tags of pixels, scale and side are read; nothing that names a patient is.
"""

from pathlib import Path
from typing import Any

import numpy as np

from medssl.data.dicom.single import Stated, read_single, spacing_of, undecoded
from medssl.data.dicom.stored import DAMAGE, stored_values
from medssl.data.radiograph.image import Radiograph, must_not_be_huge, side_of
from medssl.errors import DataError


def read_dicom(path: Path) -> Radiograph:
    """The image in a DICOM file, rescaled as its header says.

    Values of MONOCHROME1 are inverted: maximum - value.

    Raises:
        DataError: the file is damaged, too large, in colour, of several frames, or no radiograph;
            or a tag that is read has a value that cannot be.
    """
    header, stated = read_single(path, "radiograph")
    _refuse_other_images(path, stated)
    pixels = _decoded(path, header)
    if stated["PhotometricInterpretation"] == "MONOCHROME1":
        pixels = pixels.max() - pixels
    rows, columns = stated.get("PixelAspectRatio") or (1, 1)
    return Radiograph(
        str(path),
        pixels,
        spacing_of(stated),
        side_of(stated.get("ImageLaterality") or stated.get("Laterality") or ""),
        rows / columns if rows else 1.0,
    )


def _refuse_other_images(path: Path, stated: Stated) -> None:
    frames = stated.get("NumberOfFrames", 1)
    if frames > 1 or stated.get("SamplesPerPixel", 1) != 1:
        raise DataError(
            f"{path} is no radiograph",
            f"it has {frames} frames" if frames > 1 else "it is in colour",
            "remove it, or export one grey image",
        )
    kind = stated["PhotometricInterpretation"]
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise DataError(
            f"{path} is no radiograph",
            f"its photometric interpretation is {kind}",
            "export it as MONOCHROME2",
        )
    must_not_be_huge(path, stated["Rows"], stated["Columns"])


def _decoded(path: Path, header: Any) -> np.ndarray:
    """[H, W] float32, rescaled."""
    from pydicom.pixels import apply_modality_lut

    try:
        stored = stored_values(header)
        if stored.shape != (header.Rows, header.Columns):
            raise ValueError("not one image of the stated size")
        rescaled = apply_modality_lut(stored, header)
        with np.errstate(over="ignore"):
            return np.asarray(rescaled.astype(np.float32))
    except DAMAGE as error:
        raise undecoded(path, header) from error
