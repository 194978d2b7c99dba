"""Radiographs from DICOM files.

Only tags of pixels, scale and side are read; nothing that names a patient is.
"""

import warnings
from collections.abc import Callable, Sized
from pathlib import Path
from typing import Any

import numpy as np

from medssl.data.dicom.stored import DAMAGE, TooLarge, must_not_inflate, stored_values
from medssl.data.radiograph.image import (
    LARGEST,
    Radiograph,
    must_not_be_huge,
    side_of,
    unreadable,
)
from medssl.errors import DataError

DICOM = (".dcm", ".dicom", ".dic")

_INFLATED = 4 * LARGEST
"""Bytes that a deflated file may hold."""

_NEEDED = (
    "Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation",
    "PhotometricInterpretation",
)  # fmt: skip


# What pydicom warns of is found and said with the file's name.
warnings.filterwarnings("ignore", "Invalid value for VR", UserWarning)


def _count(value: Any) -> int:
    if int(value) != value or not 0 <= int(value) < 2**31:
        raise ValueError
    return int(value)


def _number(value: Any) -> float:
    if not np.isfinite(float(value)):
        raise ValueError
    return float(value)


def _pair(value: Any) -> tuple[float, float]:
    first, second = (_number(one) for one in value)
    if (first, second) != (0, 0) and min(first, second) <= 0:
        raise ValueError
    return first, second


def _sequence(value: Any) -> Any:
    return value[0]


_TAGS: dict[str, Callable[[Any], Any]] = {
    "BitsAllocated": _count,
    "BitsStored": _count,
    "HighBit": _count,
    "PixelRepresentation": _count,
    "SamplesPerPixel": _count,
    "PlanarConfiguration": _count,
    "PhotometricInterpretation": str,
    "NumberOfFrames": _count,
    "Rows": _count,
    "Columns": _count,
    "RescaleSlope": _number,
    "RescaleIntercept": _number,
    "ModalityLUTSequence": _sequence,
    "PixelSpacing": _pair,
    "ImagerPixelSpacing": _pair,
    "PixelAspectRatio": _pair,
    "ImageLaterality": str,
    "Laterality": str,
}
"""Tags that are read, with the function that checks and converts their values."""

Stated = dict[str, Any]
"""Values of the tags that a file has and that are not empty."""


def read_dicom(path: Path) -> Radiograph:
    """The image in a DICOM file, rescaled as its header says.

    Values of MONOCHROME1 are inverted: maximum - value.

    Raises:
        DataError: the file is damaged, too large, in colour, of several frames, or no radiograph;
            or a tag that is read has a value that cannot be.
    """
    header = _header(path)
    if "PixelData" not in header:
        raise DataError(f"{path} holds no image", "it is DICOM without pixel data", "remove it")
    stated = _stated(path, header)
    _refuse_other_images(path, stated)
    pixels = _decoded(path, header)
    if stated["PhotometricInterpretation"] == "MONOCHROME1":
        pixels = pixels.max() - pixels
    rows, columns = stated.get("PixelAspectRatio") or (1, 1)
    return Radiograph(
        str(path),
        pixels,
        _spacing(stated),
        side_of(stated.get("ImageLaterality") or stated.get("Laterality") or ""),
        rows / columns if rows else 1.0,
    )


def _header(path: Path) -> Any:
    from pydicom import dcmread

    try:
        with path.open("rb") as file:
            must_not_inflate(file, _INFLATED)
            return dcmread(file, specific_tags=[*_TAGS, "PixelData"])
    except TooLarge as error:
        raise DataError(
            f"{path} is too large for a radiograph",
            f"inflated it has more than {_INFLATED // 10**6} MB",
            "copy it again, or export it smaller",
        ) from error
    except DAMAGE as error:
        raise unreadable(path) from error


def _stated(path: Path, header: Any) -> Stated:
    """The values of all tags but the pixels; empty tags are taken out of the header.

    Raises:
        DataError: one cannot be what its tag asks for.
    """
    from pydicom.datadict import keyword_for_tag

    found: Stated = {}
    for tag in list(header.keys()):
        name = keyword_for_tag(tag)
        if name not in _TAGS:
            continue
        try:
            value = header[tag].value
            if value is None or (isinstance(value, Sized) and not len(value)):
                del header[tag]
            else:
                found[name] = _TAGS[name](value)
        except DAMAGE as error:
            raise DataError(
                f"{path} has a value of {name} that cannot be",
                "it is no valid DICOM",
                "export the image again, or correct its header",
            ) from error
    return found


def _spacing(stated: Stated) -> tuple[float, float] | None:
    """The calibrated spacing, else the detector's; zeros are no spacing."""
    found = stated.get("PixelSpacing") or stated.get("ImagerPixelSpacing")
    return found if found and found[0] else None


def _refuse_other_images(path: Path, stated: Stated) -> None:
    if missing := [name for name in _NEEDED if name not in stated]:
        raise DataError(
            f"{path} lacks {' and '.join(missing)}",
            "its header is damaged",
            "copy or export it again",
        )
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
        syntax = header.file_meta.get("TransferSyntaxUID", "unknown")
        raise DataError(
            f"the pixels of {path} cannot be decoded",
            f"the file is damaged, or no decoder of '{getattr(syntax, 'name', syntax)}' is here",
            "copy it again, or decompress it, e.g. with `gdcmconv --raw`",
        ) from error
