"""Radiographs from DICOM files.

Only tags of pixels, scale and side are read; nothing that names a patient is.
"""

import struct
import warnings
import zlib
from collections.abc import Callable, Sized
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

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

_START = 1024
"""Bytes in which a file names its transfer syntax."""

_META = 128 + 4 + 12
"""Bytes before what the group length of the meta information counts."""

_END_OF_IMAGE = b"\xff\xd9"

_NEEDED = (
    "Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation",
    "PhotometricInterpretation",
)  # fmt: skip


# What pydicom warns of is found and said with the file's name.
warnings.filterwarnings("ignore", "Invalid value for VR", UserWarning)


@cache
def _damage() -> tuple[type[Exception], ...]:
    """What pydicom raises on damaged files, whatever it stumbles over."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (
        InvalidDicomError, BytesLengthException, OSError, EOFError, ValueError, TypeError,
        LookupError, AttributeError, RuntimeError, ArithmeticError, MemoryError, struct.error,
        zlib.error,
    )  # fmt: skip


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
"""Tags that are read, and what makes their values what they must be."""

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
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    try:
        with path.open("rb") as file:
            if DeflatedExplicitVRLittleEndian.encode() in file.read(_START):
                _must_not_inflate(path)
            file.seek(0)
            return dcmread(file, specific_tags=[*_TAGS, "PixelData"])
    except _damage() as error:
        raise unreadable(path) from error


def _must_not_inflate(path: Path) -> None:
    """Refuse a small file that would fill the memory; pydicom inflates without a limit."""
    from pydicom.filereader import read_file_meta_info

    meta = read_file_meta_info(path)
    with path.open("rb") as file:
        file.seek(_META + int(meta.FileMetaInformationGroupLength))
        inflating = zlib.decompressobj(-zlib.MAX_WBITS)
        inflating.decompress(file.read(), _INFLATED)
    if inflating.unconsumed_tail:
        raise DataError(
            f"{path} is too large for a radiograph",
            f"inflated it has more than {_INFLATED // 10**6} MB",
            "copy it again, or export it smaller",
        )


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
        except _damage() as error:
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
        stored = _stored(header)
        if stored.shape != (header.Rows, header.Columns):
            raise ValueError("not one image of the stated size")
        rescaled = apply_modality_lut(stored, header)
        with np.errstate(over="ignore"):
            return np.asarray(rescaled.astype(np.float32))
    except _damage() as error:
        syntax = header.file_meta.get("TransferSyntaxUID", "unknown")
        raise DataError(
            f"the pixels of {path} cannot be decoded",
            f"the file is damaged, or no decoder of '{getattr(syntax, 'name', syntax)}' is here",
            "copy it again, or decompress it, e.g. with `gdcmconv --raw`",
        ) from error


def _stored(header: Any) -> np.ndarray:
    """[H, W] values as the file stores them, decompressed."""
    from pydicom import uid

    syntax = header.file_meta.TransferSyntaxUID
    if not syntax.is_compressed or syntax in (uid.DeflatedExplicitVRLittleEndian, uid.RLELossless):
        return np.asarray(header.pixel_array)
    frame = _frame(header)
    if syntax in (uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1):
        return _by_libjpeg(header, frame)
    return np.asarray(header.pixel_array)


def _frame(header: Any) -> bytes:
    """The compressed image; one that was cut would be filled up in silence.

    Raises:
        ValueError: it has no end.
    """
    from pydicom.encaps import get_frame

    frame: bytes = get_frame(header.PixelData, 0, number_of_frames=1).rstrip(b"\0")
    if not frame.endswith(_END_OF_IMAGE):
        raise ValueError("the compressed image has no end")
    return frame


def _by_libjpeg(header: Any, frame: bytes) -> np.ndarray:
    """[H, W] values of a JPEG of more than 8 bits or without loss, for which pydicom has nothing.

    SimpleITK would read them too, but ends the process where a stream is damaged.
    """
    from imagecodecs import jpeg8_decode

    stored = int(header.BitsStored)
    kind = np.dtype(np.uint8 if stored <= 8 else np.uint16)
    values = jpeg8_decode(frame, out=np.empty((header.Rows, header.Columns), kind))
    if header.PixelRepresentation:
        unused = kind.itemsize * 8 - stored
        values = (values << unused).view(kind.name.removeprefix("u")) >> unused
    return np.asarray(values)
