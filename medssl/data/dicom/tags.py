"""What the header of one slice says, checked: each fault is one sentence that names the file."""

from dataclasses import dataclass
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from medssl.data.dicom.examinations import UNKNOWN, Examination
from medssl.errors import DataError

_KEYWORDS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "StudyDate",
    "FrameOfReferenceUID",
    "SharedFunctionalGroupsSequence",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "SamplesPerPixel",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "Modality",
    "ImageType",
)

LARGEST = 8192
"""Rows and columns that a slice may have; damaged headers ask for memory without end."""

_PERPENDICULAR = 0.01
_LARGEST_VALUE = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice.

    Attributes:
        path: its file.
        series: SeriesInstanceUID.
        shape: rows and columns.
        place: [3] of its first pixel, mm in LPS+.
        directions: [2, 3] unit vectors in LPS+, along a row and along a column.
        spacing: from row to row and from column to column, mm.
        thickness: mm; None where it is not stated or no length.
        bits: that a stored value takes in the file, and those of them that count.
        signed: whether stored values may be negative.
        pixels_at: where in the file the stored values begin, plain and with the low byte first;
            None where they must be decoded.
        slope, intercept: value = stored value * slope + intercept.
        uid: SOPInstanceUID; empty where it is not stated.
        frame: its number in the file, from 0.
        marks: of a frame, what tells it from others at its position, e.g. its echo time; None of a
            file that holds one slice.
        unit: of PET, what the values are in, see `medssl.data.dicom.suv`; else empty.
        examination: that it is of.
    """

    path: Path
    series: str
    shape: tuple[int, int]
    place: np.ndarray
    directions: np.ndarray
    spacing: tuple[float, float]
    thickness: float | None
    bits: tuple[int, int]
    signed: bool
    pixels_at: int | None
    slope: float
    intercept: float
    uid: str = ""
    frame: int = 0
    marks: tuple[tuple[str, str], ...] | None = None
    unit: str = ""
    examination: Examination = UNKNOWN

    @property
    def stored(self) -> tuple[int, int]:
        """Lowest and highest value that its bits can hold."""
        count = self.bits[1]
        return (-(2 ** (count - 1)), 2 ** (count - 1) - 1) if self.signed else (0, 2**count - 1)

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest value that it can hold after rescaling."""
        low, high = sorted(value * self.slope + self.intercept for value in self.stored)
        return low, high


@cache
def tags() -> dict[str, Any]:
    """All tags of a header that are read, pydicom's by their keywords."""
    from pydicom.tag import Tag

    return {keyword: Tag(keyword) for keyword in _KEYWORDS}


def read_slice(path: Path, header: Any, pixels: tuple[int, int] | None) -> Slice:
    """A slice from pydicom's header with `tags`.

    Args:
        pixels: where the stored values begin in the file and how many bytes they take, if they are
            plain and have the low byte first.

    Raises:
        DataError: it is no single grey frame, or a tag is missing, empty or cannot be.
    """
    tags = _Tags(path, header)
    kept = _stored_as(tags)
    shape, bits, signed = kept.shape, kept.bits, kept.signed
    row, column = tags.numbers("PixelSpacing", 2, "two lengths")
    if min(row, column) <= 0:
        tags.refuse_value("PixelSpacing", "two lengths above 0")
    size = kept.bytes
    found = Slice(
        path=path,
        series=tags.text("SeriesInstanceUID"),
        shape=shape,
        place=np.array(tags.numbers("ImagePositionPatient", 3, "three coordinates")),
        directions=_directions(tags),
        spacing=(row, column),
        thickness=_thickness(tags),
        bits=bits,
        signed=signed,
        pixels_at=pixels[0] if pixels is not None and pixels[1] in (size, size + 1) else None,
        slope=tags.number("RescaleSlope", 1.0),
        intercept=tags.number("RescaleIntercept", 0.0),
        uid=tags.text_or_none("SOPInstanceUID"),
        examination=Examination(
            tags.text_or_none("StudyInstanceUID"),
            tags.text_or_none("StudyDate"),
            tags.text_or_none("FrameOfReferenceUID"),
        ),
    )
    _refuse_rescaling(tags, found)
    return found


@dataclass(frozen=True)
class StoredAs:
    """How a file stores each of its frames; see `Slice`."""

    shape: tuple[int, int]
    bits: tuple[int, int]
    signed: bool

    @property
    def bytes(self) -> int:
        """Bytes of a frame that is not compressed."""
        return self.shape[0] * self.shape[1] * self.bits[0] // 8


def stored_as(path: Path, header: Any) -> StoredAs:
    """How a file stores its frames, from pydicom's header with `tags`.

    Raises:
        DataError: they are not grey, or a tag is missing, empty or cannot be.
    """
    return _stored_as(_Tags(path, header))


def _stored_as(tags: "_Tags") -> StoredAs:
    _refuse_other_images(tags)
    shape = tags.count("Rows"), tags.count("Columns")
    if max(shape) > LARGEST:
        refuse(tags.path, "is too large for a slice", f"it has more than {LARGEST} rows or columns")
    return StoredAs(shape, *_bits(tags))


def modality_of(path: Path, header: Any) -> str:
    """The modality, by pydicom's header with `tags`; empty where it is not stated."""
    return _Tags(path, header).text_or_none("Modality")


def has_frames(path: Path, header: Any) -> bool:
    """Whether a file may hold several slices, by pydicom's header with `tags`.

    Raises:
        DataError: the number of frames cannot be.
    """
    tags = _Tags(path, header)
    enhanced = tags.has("SharedFunctionalGroupsSequence")
    return enhanced or tags.number("NumberOfFrames", 1) != 1


def refuse(path: Path, what: str, why: str) -> NoReturn:
    """Raise the DataError about a file of a series, saying what is wrong and why.

    Raises:
        DataError: always.
    """
    raise DataError(
        f"{path} {what}",
        why,
        "export the series again from its archive, or remove the file if it is none of its slices",
    )


class _Tags:
    """Values of a header; what cannot be is refused with a sentence that does not quote it.

    They are made from the bytes of the file: pydicom's way takes longer than all the rest of
    reading a header.
    """

    def __init__(self, path: Path, header: Any) -> None:
        self.path = path
        self._found = {
            keyword: header.get_item(tag) for keyword, tag in tags().items() if tag in header
        }

    def has(self, keyword: str) -> bool:
        return keyword in self._found

    def is_text(self, keyword: str) -> bool:
        """Whether a tag is there and its text is not empty."""
        value = self._found[keyword].value if self.has(keyword) else None
        return isinstance(value, bytes) and bool(value.strip(b" \0"))

    def refuse_value(self, keyword: str, meaning: str) -> NoReturn:
        refuse(self.path, f"has a {keyword} that is not {meaning}", "its header is damaged")

    def text(self, keyword: str) -> str:
        found = self._bytes(keyword).decode("latin-1").strip(" \0")
        return found or self._refuse_empty(keyword)

    def text_or_none(self, keyword: str) -> str:
        """A text; empty where the tag is not there, or is none."""
        return self.text(keyword) if self.is_text(keyword) else ""

    def numbers(self, keyword: str, count: int, meaning: str) -> list[float]:
        """`count` numbers that the file stores as text."""
        try:
            found = [float(value) for value in self.text(keyword).split("\\")]
        except ValueError:
            self.refuse_value(keyword, meaning)
        if len(found) != count or not all(map(isfinite, found)):
            self.refuse_value(keyword, meaning)
        return found

    def number(self, keyword: str, default: float) -> float:
        return self.numbers(keyword, 1, "a number")[0] if self.has(keyword) else default

    def count(self, keyword: str, least: int = 1) -> int:
        """A number that the file stores in two bytes; at least `least`."""
        value = self._bytes(keyword)
        little = self._found[keyword].is_little_endian
        found = int.from_bytes(value, "little" if little else "big")
        if len(value) != 2 or found < least:
            self.refuse_value(keyword, f"a whole number from {least}")
        return found

    def _bytes(self, keyword: str) -> bytes:
        if not self.has(keyword):
            refuse(self.path, f"lacks {keyword}", "a slice must state it")
        value = self._found[keyword].value
        if not value:
            self._refuse_empty(keyword)
        if not isinstance(value, bytes):  # the header says that it is a sequence
            self.refuse_value(keyword, "a plain value")
        return value

    def _refuse_empty(self, keyword: str) -> NoReturn:
        refuse(self.path, f"has an empty {keyword}", "a slice must state it")


def _refuse_other_images(tags: _Tags) -> None:
    path = tags.path
    if tags.count("SamplesPerPixel") != 1:
        refuse(path, "is in colour", "the slices of a series are grey")
    if tags.text("PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2"):
        refuse(
            path,
            "has a PhotometricInterpretation that is neither MONOCHROME1 nor MONOCHROME2",
            "the slices of a series are grey",
        )
    if tags.is_text("ImageType") and "MOSAIC" in tags.text("ImageType").upper().split("\\"):
        raise DataError(
            f"{path} is a mosaic",
            "all slices of a volume lie side by side in one picture, as Siemens writes them",
            "convert the series to NIfTI",
        )
    if tags.has("ModalityLUTSequence"):
        raise DataError(
            f"{path} has a ModalityLUTSequence",
            "values that a table rescales are not read",
            "convert the series to NIfTI",
        )


def _directions(tags: _Tags) -> np.ndarray:
    meaning = "two perpendicular unit vectors"
    found = np.reshape(tags.numbers("ImageOrientationPatient", 6, meaning), (2, 3))
    if not are_perpendicular(found):
        tags.refuse_value("ImageOrientationPatient", meaning)
    return found


def are_perpendicular(directions: np.ndarray) -> bool:
    """Whether both rows [2, 3] are unit vectors at right angles."""
    return bool(np.abs(directions @ directions.T - np.eye(2)).max() <= _PERPENDICULAR)


def _thickness(tags: _Tags) -> float | None:
    try:
        (found,) = tags.numbers("SliceThickness", 1, "a length")
    except DataError:  # it matters only where one slice is all there is
        return None
    return found if found > 0 else None


def _bits(tags: _Tags) -> tuple[tuple[int, int], bool]:
    allocated, stored = tags.count("BitsAllocated"), tags.count("BitsStored")
    if allocated not in (8, 16, 32):
        tags.refuse_value("BitsAllocated", "8, 16 or 32")
    if stored > allocated:
        tags.refuse_value("BitsStored", f"a whole number from 1 to {allocated}")
    if tags.has("HighBit") and tags.count("HighBit", 0) != stored - 1:
        tags.refuse_value("HighBit", f"{stored - 1}, one less than BitsStored")
    signed = tags.count("PixelRepresentation", 0)
    if signed > 1:
        tags.refuse_value("PixelRepresentation", "0 or 1")
    return (allocated, stored), bool(signed)


def _refuse_rescaling(tags: _Tags, found: Slice) -> None:
    for keyword, other in (
        ("RescaleSlope", "RescaleIntercept"),
        ("RescaleIntercept", "RescaleSlope"),
    ):
        if tags.has(other) and not tags.has(keyword):
            refuse(tags.path, f"has a {other} but no {keyword}", "one has no meaning alone")
    if found.slope == 0:
        tags.refuse_value("RescaleSlope", "another number than 0")
    if max(map(abs, found.range)) > _LARGEST_VALUE:
        refuse(tags.path, "is rescaled to values beyond all numbers", "its header is damaged")
