"""What the service must know of a DICOM file that it is sent, and nothing that is untrue of it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medssl.data.dicom.header import read_header
from medssl.data.dicom.stored import DAMAGE
from medssl.keyed import Key

_TAGS = (
    "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID",
    "PatientID", "PatientName", "PatientBirthDate",
)  # fmt: skip
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_DEFLATED = "1.2.840.10008.1.2.1.99"
"""Its size says nothing of how much memory it takes."""


@dataclass(frozen=True)
class Instance:
    """One DICOM file.

    Attributes:
        path: where it is now.
        study, series, uid, kind: UIDs; `kind` is that of its class.
        patient: a keyed digest of who it is of.
    """

    path: Path
    study: str
    series: str
    uid: str
    kind: str
    patient: str


def is_uid(text: str) -> bool:
    """Whether a text can be a UID."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def read_instance(path: Path, key: Key) -> Instance | None:
    """What a file says of itself; None where it is no DICOM file or does not say which."""
    from pydicom.filereader import read_file_meta_info

    try:
        with path.open("rb") as file:
            if file.read(132)[128:] != b"DICM":
                return None
        if str(read_file_meta_info(path).get("TransferSyntaxUID")) == _DEFLATED:
            return None
        header = read_header(path, specific_tags=list(_TAGS))
        study, series, uid, kind = (_text(header, keyword) for keyword in _TAGS[:4])
        patient = "\n".join(_text(header, keyword) for keyword in _TAGS[4:])
    except DAMAGE:
        return None
    if not all(map(is_uid, (study, series, uid, kind))):
        return None
    return Instance(path, study, series, uid, kind, key.name_of("patient", patient))


def _text(header: Any, keyword: str) -> str:
    return str(header.get(keyword) or "").strip()
