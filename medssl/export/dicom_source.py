"""The headers that a DICOM object about a series refers to.

The patient's identity goes from the series' headers into the object's own, and nowhere else: no
file name, message or log repeats it.
"""

import logging
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from medssl.data.dicom.header import read_header
from medssl.data.dicom.series import Series
from medssl.data.dicom.stored import DAMAGE
from medssl.errors import DataError

_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
# Attributes that a series must have but may leave empty (DICOM type 2); some tools drop them.
_MAY_BE_EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "PositionReferenceIndicator",
)

_SERIES_OFFSET = 1000
_LAST_NUMBER = 2**31 - 1  # that an integer string may hold


def source_headers(source: Series) -> list[Any]:
    """Headers of the files of a series, pydicom's, in the order of the grid.

    The first, whose patient and study new objects repeat, is in UTF-8: labels may have any letters,
    and not every library knows the Japanese way to change between sets of letters.

    Raises:
        DataError: one cannot be read, lacks what must be referred to, has the identity of another
            one, or is of another patient.
    """
    try:
        headers = [read_header(file) for file in dict.fromkeys(source.files)]
    except DAMAGE:
        raise _irregular(source) from None
    for header in headers:
        for keyword in _NEEDED:
            if not header.get(keyword):
                raise _incomplete(source, keyword)
        for keyword in _MAY_BE_EMPTY:
            if keyword not in header:
                setattr(header, keyword, None)
    _refuse_unlike(source, headers)
    _to_utf8(headers[0], headers[0].get("SpecificCharacterSet"))
    headers[0].SpecificCharacterSet = "ISO_IR 192"
    return headers


def _to_utf8(header: Any, stated: Any) -> None:
    """Read the texts of a header by the character sets that it states."""
    from pydicom.charset import convert_encodings, decode_element

    encodings = convert_encodings(stated)
    for tag in list(header.keys()):
        with suppress(*DAMAGE):  # what is not needed may be damaged
            element = header[tag]
            if element.VR == "SQ":
                for item in element.value:
                    _to_utf8(item, item.get("SpecificCharacterSet") or stated)
            elif element.keyword != "SpecificCharacterSet":
                decode_element(element, encodings)


def _refuse_unlike(source: Series, headers: Sequence[Any]) -> None:
    """Refuse slices that cannot be told apart, or are not all of one patient."""
    folder = source.files[0].parent
    if len({header.SOPInstanceUID for header in headers}) < len(headers):
        raise DataError(
            f"the DICOM series in {folder} has several slices of one SOPInstanceUID",
            "what refers to one of them would refer to all",
            "export the series again from its archive, or write the mask as NIfTI or NRRD",
        )
    if len({str(header.PatientID or "") for header in headers} - {""}) > 1:
        raise DataError(
            f"the DICOM series in {folder} has slices of several patients",
            "whose the result would be cannot be told",
            "export the series again from its archive",
        )


def series_number(header: Any, further: int = 0) -> int:
    """The number of a new series beside that of a header, as far as numbers go."""
    return min(int(header.get("SeriesNumber") or 0) + _SERIES_OFFSET + further, _LAST_NUMBER)


@contextmanager
def discreet(source: Series) -> Iterator[None]:
    """Hide the header values that warnings and errors of the DICOM libraries quote.

    pydicom both warns and logs "Invalid value for VR ...: 'VALUE'".
    """
    talkers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    before = [talker.disabled for talker in talkers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for talker in talkers:
            talker.disabled = True
        try:
            yield
        except AttributeError as error:
            raise _incomplete(source, str(error.name)) from None
        except (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, struct.error):
            raise _irregular(source) from None
        finally:
            for talker, disabled in zip(talkers, before, strict=True):
                talker.disabled = disabled


def _irregular(source: Series) -> DataError:
    return DataError(
        f"the DICOM series in {source.files[0].parent} cannot be referred to by a segmentation",
        "its headers break the DICOM standard",
        "export the series again from its archive",
    )


def _incomplete(source: Series, keyword: str) -> DataError:
    return DataError(
        f"the DICOM series in {source.files[0].parent} lacks {keyword}",
        "a segmentation must refer to it",
        "export the series again from its archive",
    )
