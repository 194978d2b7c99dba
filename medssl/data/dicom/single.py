"""Single DICOM files that are no slices of a volume: their tags, checked, and their scale.

Only tags of pixels, scale and side are read; nothing that names a patient is.
"""

import warnings
from collections.abc import Callable, Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np

from medssl.data.dicom.stored import DAMAGE, TooLarge, must_not_inflate
from medssl.errors import DataError

MOST = 100_000_000
"""Pixels that a grey image may have: a whole leg at 0.1 mm has 60 million. A damaged header may
claim any number."""

_INFLATED = 4 * MOST
"""Bytes that a deflated file may hold."""

NEEDED = (
    "Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation",
    "PhotometricInterpretation",
)  # fmt: skip
"""Tags that every image has."""

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


TAGS: dict[str, Callable[[Any], Any]] = {
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
"""Tags of grey images that are read, with the function that checks and converts their values."""

Stated = dict[str, Any]
"""Values of the tags that a file has and that are not empty."""


def read_single(path: Path, kind: str, more: Sequence[str] = ()) -> tuple[Any, Stated]:
    """The header and pixels of a file as pydicom has them, and the values of TAGS.

    Empty tags are taken out of the header.

    Args:
        kind: what it should be, for messages, e.g. "radiograph".
        more: further tags, to be read as they are.

    Raises:
        DataError: the file is damaged, too large or holds no image, or a tag cannot be what it is.
    """
    header = _header(path, kind, [*TAGS, *more])
    if "PixelData" not in header:
        raise DataError(f"{path} holds no image", "it is DICOM without pixel data", "remove it")
    stated = _stated(path, header)
    if missing := [name for name in NEEDED if name not in stated]:
        raise DataError(
            f"{path} lacks {' and '.join(missing)}",
            "its header is damaged",
            "copy or export it again",
        )
    return header, stated


def undecoded(path: Path, header: Any) -> DataError:
    """The error for pixels that cannot be decoded."""
    syntax = header.file_meta.get("TransferSyntaxUID", "unknown")
    return DataError(
        f"the pixels of {path} cannot be decoded",
        f"the file is damaged, or no decoder of '{getattr(syntax, 'name', syntax)}' is here",
        "copy it again, or decompress it, e.g. with `gdcmconv --raw`",
    )


def _header(path: Path, kind: str, tags: Sequence[str]) -> Any:
    from pydicom import dcmread

    try:
        with path.open("rb") as file:
            must_not_inflate(file, _INFLATED)
            return dcmread(file, specific_tags=[*tags, "PixelData"])
    except TooLarge as error:
        raise DataError(
            f"{path} is too large for a {kind}",
            f"inflated it has more than {_INFLATED // 10**6} MB",
            "copy it again, or export it smaller",
        ) from error
    except DAMAGE as error:
        empty = path.stat().st_size == 0
        raise DataError(
            f"{path} cannot be read",
            "it is empty" if empty else "it is truncated, damaged, or neither DICOM, PNG nor JPEG",
            "copy or export it again",
        ) from error


def _stated(path: Path, header: Any) -> Stated:
    """The values of all tags but the pixels; empty tags are taken out of the header.

    Raises:
        DataError: one cannot be what its tag asks for.
    """
    from pydicom.datadict import keyword_for_tag

    found: Stated = {}
    for tag in list(header.keys()):
        name = keyword_for_tag(tag)
        if name not in TAGS:
            continue
        try:
            value = header[tag].value
            if value is None or (isinstance(value, Sized) and not len(value)):
                del header[tag]
            else:
                found[name] = TAGS[name](value)
        except DAMAGE as error:
            raise DataError(
                f"{path} has a value of {name} that cannot be",
                "it is no valid DICOM",
                "export the image again, or correct its header",
            ) from error
    return found


def spacing_of(stated: Stated) -> tuple[float, float] | None:
    """The calibrated spacing, else the detector's; zeros are no spacing."""
    found = stated.get("PixelSpacing") or stated.get("ImagerPixelSpacing")
    return found if found and found[0] else None
