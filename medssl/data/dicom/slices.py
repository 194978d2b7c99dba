"""Which files of a folder are slices of a series.

- Hidden files (`._000.dcm`, `.DS_Store`) and folders are none.
- A DICOM file is one, with or without preamble, unless it is of a kind that holds no slices: a
  DICOMDIR, a report, a segmentation, a plan and the like are passed over.
- A file that is not DICOM is passed over, unless its name is like that of a slice: then it is one
  that was damaged, and is refused.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from medssl.data.dicom.frames import frames_of
from medssl.data.dicom.header import read_header
from medssl.data.dicom.stored import DAMAGE, must_not_inflate
from medssl.data.dicom.suv import suv_factor
from medssl.data.dicom.tags import LARGEST, Slice, has_frames, modality_of, read_slice, refuse, tags
from medssl.errors import DataError

_ENDINGS = {".dcm", ".ima", ".dicom", ".dic"}
_WRAPPED = {".gz", ".bz2", ".xz", ".zip", ".part", ".filepart", ".crdownload", ".tmp"}
_FIRST_GROUPS = (b"\x02\0", b"\x08\0", b"\0\x08")
_PIXEL_DATA = (bytes.fromhex("e07f1000"), bytes.fromhex("7fe00010"))
_FLOAT_DATA = tuple(bytes.fromhex(tag) for tag in ("e07f0800", "7fe00008", "e07f0900", "7fe00009"))
_DEFLATED = "1.2.840.10008.1.2.1.99"
_PLAIN = (None, "1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
_INFLATED = 4 * LARGEST**2


@dataclass(frozen=True)
class Header:
    """What comes before the pixels of a slice.

    Attributes:
        tags: pydicom's, those of `tags`.
        pixels: where the stored values begin in the file and how many bytes they take; None where
            they are compressed or have the high byte first.
    """

    tags: Any
    pixels: tuple[int, int] | None


class NoDicomError(Exception):
    """Raised where a file is not DICOM; its text says why."""


def slices_in(folder: Path) -> list[Slice]:
    """The slices directly in `folder`, by name; empty where there is none.

    Raises:
        DataError: one is unreadable, cut off, no single grey frame, or lacks a tag.
    """
    found, others = [], []
    for path in _files(folder):
        try:
            header = header_of(path)
        except (NoDicomError, OSError) as error:
            others.append((path, error))
        else:
            found += [(path, header)] if header is not None else []
    endings = {_ending(path) for path, _ in found}
    for path, why in others:
        if _is_named_like_slice(path, endings):
            raise _damaged(path, why)
    return [one for path, header in found for one in slices_of(path, header)]


def slices_of(path: Path, header: Header) -> list[Slice]:
    """The slices that a file holds.

    Raises:
        DataError: it holds none that can be used, or lacks a tag.
    """
    if has_frames(path, header.tags):
        found = frames_of(path, header.tags, header.pixels)
    else:
        found = [read_slice(path, header.tags, header.pixels)]
    return _in_suv(path, found) if modality_of(path, header.tags) == "PT" else found


def _in_suv(path: Path, slices: list[Slice]) -> list[Slice]:
    """Slices of PET in standardised uptake values, where the tags allow."""
    factor, unit = suv_factor(path)
    return [
        replace(one, slope=one.slope * factor, intercept=one.intercept * factor, unit=unit)
        for one in slices
    ]


def first_slice_in(folder: Path) -> Path | None:
    """The first file directly in `folder` that is a slice, damaged or not; None without one."""
    for path in _files(folder):
        try:
            if header_of(path) is not None:
                return path
        except (NoDicomError, OSError):
            continue
        except DataError:
            return path
    return None


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM does."""
    try:
        with path.open("rb") as file:
            return begins_like_dicom(file.read(132))
    except OSError:
        return False


def begins_like_dicom(start: bytes) -> bool:
    """Whether the first 132 bytes of a file are as those of DICOM, with or without preamble."""
    return start[128:132] == b"DICM" or start.startswith(_FIRST_GROUPS)


def refuse_damaged(folder: Path, known: Collection[Path]) -> None:
    """Refuse a folder with a file that has the name of a slice and is none that can be read.

    Args:
        known: files that are DICOM.

    Raises:
        DataError: there is one, which may be a slice of any series in the folder.
    """
    endings = {_ending(path) for path in known if path.parent == folder}
    for path in _files(folder):
        if path in known or not _is_named_like_slice(path, endings):
            continue
        try:
            header_of(path)
        except (NoDicomError, OSError) as error:
            raise _damaged(path, error) from None


def _files(folder: Path) -> list[Path]:
    """Visible files by name, and links that lead nowhere."""
    try:
        return [
            path
            for path in sorted(folder.iterdir())
            if not path.name.startswith(".") and (path.is_file() or not path.exists())
        ]
    except OSError as error:
        raise DataError(
            f"{folder} cannot be opened", error.strerror or "", "check who may read it"
        ) from error


def header_of(path: Path) -> Header | None:
    """The header of a slice; None of a DICOM file that is of another kind.

    Raises:
        DataError: it is a slice, but damaged.
        NoDicomError: it is no DICOM file.
        OSError: it cannot be opened.
    """
    with path.open("rb") as file:
        start = file.read(132)
        marked = start[128:] == b"DICM"
        if not begins_like_dicom(start):
            raise NoDicomError("it is no DICOM file" if start else "it has no bytes")
        file.seek(0)
        try:
            must_not_inflate(file, _INFLATED)
            header = read_header(file, specific_tags=list(tags().values()))
            kind = _kind(header)
            deflated = header.file_meta.get("TransferSyntaxUID") == _DEFLATED
            tag = file.read(4)
            has_pixels = deflated or tag in _PIXEL_DATA
            pixels = None if deflated else _plain_pixels(file, header)
        except DAMAGE as error:
            if not marked:
                raise NoDicomError("it is no DICOM file") from error
            refuse(path, "cannot be read", "its header is cut off or damaged")
    if kind is None and not (marked or "Rows" in header):
        raise NoDicomError("it is no DICOM file")
    if _is_other(kind, header, has_pixels):
        return None
    if tag in _FLOAT_DATA:
        raise DataError(
            f"{path} cannot be read",
            "it holds floating-point pixels, which are not read here",
            "convert the series to NIfTI",
        )
    if not has_pixels:
        refuse(path, "cannot be read", "it is cut off before its pixels, or damaged")
    return Header(header, pixels)


def _plain_pixels(file: BinaryIO, header: Any) -> tuple[int, int] | None:
    """Where the values of PixelData begin and how many bytes they take, from behind its tag."""
    implicit, little = header.original_encoding
    if not little or header.file_meta.get("TransferSyntaxUID") not in _PLAIN:
        return None
    length = int.from_bytes(file.read(4 if implicit else 8)[-4:], "little")
    begin = file.tell()
    return (begin, length) if begin + length <= file.seek(0, 2) else None


def _kind(header: Any) -> str | None:
    """What the standard calls the kind of object; "" if nothing, None if no kind is stated."""
    from pydicom.uid import UID_dictionary

    stated = (header.get("SOPClassUID"), header.file_meta.get("MediaStorageSOPClassUID"))
    uids = [uid for uid in stated if isinstance(uid, str) and uid]
    names = [UID_dictionary[uid][0] for uid in uids if uid in UID_dictionary]
    return next(iter(names), "" if uids else None)


def _is_other(kind: str | None, header: Any, has_pixels: bool) -> bool:
    """Whether an object holds no slices: reports, segmentations, private notes and the like.

    Where the standard has no name for the kind, it may also be one that was cut: then the header
    ends before the series is named.
    """
    if kind:
        return "Image Storage" not in kind and "Volume Storage" not in kind
    return kind == "" and not has_pixels and "Rows" not in header and "SeriesInstanceUID" in header


def _ending(path: Path) -> str:
    """`.dcm` of 1.dcm and 1.dcm.gz; none of IM1 and of names that end in numbers, as MR.1.2.84."""
    suffix = path.suffix.lower()
    if suffix in _WRAPPED:
        return _ending(path.with_suffix(""))
    return re.sub(r"\d+", "", suffix).rstrip(".")


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} cannot be read",
        f"its name is that of a slice, but: {getattr(error, 'strerror', None) or error}",
        "copy the series again, or remove the file if it is none of its slices",
    )


def _is_named_like_slice(path: Path, endings: set[str]) -> bool:
    """Whether a file that is no DICOM has the name of one; README and VERSION have not."""
    ending = _ending(path)
    if ending == "":
        return ending in endings and re.search(r"\d", path.name) is not None
    return ending in endings or ending in _ENDINGS


def frame_of_reference(file: Path) -> str:
    """FrameOfReferenceUID of a file; empty where it states none, or is no DICOM."""
    try:
        with file.open("rb") as stream:
            if not begins_like_dicom(stream.read(132)):
                return ""
        header = read_header(file, specific_tags=["FrameOfReferenceUID"])
        return str(header.get("FrameOfReferenceUID") or "")
    except DAMAGE:
        return ""
