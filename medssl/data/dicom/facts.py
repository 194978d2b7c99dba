"""What a series says of itself: its kind, description and contrast; nothing that names a patient.

Texts that people write by hand are shown without the parts that the header has as the patient's
name, id, birth date or accession number too.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from medssl.data.dicom.header import read_header
from medssl.data.dicom.stored import DAMAGE
from medssl.names import printable

_TEXTS = ("SeriesDescription", "ProtocolName", "SequenceName")
NAMING = (
    "PatientName", "PatientID", "OtherPatientIDs", "OtherPatientNames", "PatientBirthDate",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
_INNER = (
    "OtherPatientIDsSequence", "RequestAttributesSequence", "ReferencedRequestSequence",
    "ReferencedPatientSequence",
)  # fmt: skip
"""Sequences that name the patient, or the order, once more."""

_TIMES = ("RepetitionTime", "EchoTime", "InversionTime")
_TAGS = [
    "SOPClassUID", "StudyInstanceUID", "Modality", "SeriesNumber", "ImageType",
    "ContrastBolusAgent",
    *_TEXTS, *NAMING, *_INNER, *_TIMES,
]  # fmt: skip

_SCOUT = re.compile(r"(?i)\b(scouts?|locali[sz]ers?|loc|topograms?|surview|survey|scanogram)\b")
_PROJECTIONS = {"PROJECTION IMAGE", "MIP", "MINIP", "MAXIMUM", "MINIMUM", "MPR_MIP"}
_MAPS = {
    "ADC", "EADC", "FA", "TRACEW", "CBF", "CBV", "RCBV", "MTT", "TTP", "TMAX", "PERFUSION",
    "SUBTRACTION", "FIELD_MAP", "DIFFUSION_ANISO", "T1 MAP", "T2 MAP", "R2 MAP", "T2_STAR MAP",
    "VELOCITY", "SCREEN SAVE", "DOSE_INFO",
}  # fmt: skip
_SHORTEST = 3
"""Letters of a name below which it is part of too many words to be taken out."""


@dataclass(frozen=True)
class Facts:
    """What the header of a series says.

    Attributes:
        kind: of object, as the standard names it.
        number: SeriesNumber, if there is one.
        texts: description, protocol and sequence name, without what names a patient.
        image_type: the words of ImageType, in capitals.
        agent: whether a contrast agent is named.
        times: repetition, echo and inversion time, ms, where they are stated.
        study: StudyInstanceUID.
    """

    kind: str
    modality: str
    number: int | None
    texts: tuple[str, ...]
    image_type: tuple[str, ...]
    agent: bool
    times: tuple[float | None, ...]
    study: str = ""

    @property
    def description(self) -> str:
        """SeriesDescription, or else the protocol."""
        return next(filter(None, self.texts), "")

    @property
    def derived(self) -> bool:
        """Whether its values were computed from other images, as ImageType says."""
        return "DERIVED" in self.image_type

    @cached_property
    def words(self) -> str:
        """All texts, in small letters."""
        return " | ".join(filter(None, self.texts)).lower()

    def refused(self, modality: str, wanted: tuple[str, ...] = ()) -> str:
        """Why it holds no scan that a network could segment, in words; empty where it may.

        Args:
            modality: what the network was trained on; "OT" fits all.
            wanted: words of ImageType that a rule asks for, which are refused otherwise.
        """
        types, kind = set(self.image_type) - set(wanted), self.kind.removesuffix(" Storage")
        holds = not self.kind or "Image Storage" in self.kind or "Volume Storage" in self.kind
        modality_fits = modality in ("OT", self.modality)
        projection, computed = sorted(types & _PROJECTIONS), sorted(types & _MAPS)
        found = (
            (holds, f"it is a {kind}, which holds no scan"),
            (
                "Secondary Capture" not in kind,
                "it is a secondary capture, a picture of a screen or of a page",
            ),
            (
                modality_fits,
                f"its modality is {self.modality or 'not stated'}, and training saw {modality}",
            ),
            ("LOCALIZER" not in types and not _SCOUT.search(self.words), "it is a localiser"),
            ("MOSAIC" not in types, "it is a mosaic, whose slices lie side by side in one picture"),
            (not projection, f"it is a projection of other images ({', '.join(projection)})"),
            (not computed, f"it is computed from other images ({', '.join(computed)})"),
        )
        return next((why for fits, why in found if not fits), "")


def read_facts(path: Path) -> Facts:
    """The facts of a series, from one of its files; empty ones where it cannot be read."""
    try:
        header = read_header(path, specific_tags=_TAGS)
        return facts_of(header)
    except DAMAGE:
        return Facts("", "", None, (), (), False, (None, None, None))


def facts_of(header: Any) -> Facts:
    """The facts that pydicom's header states."""
    naming = naming_parts(header)
    return Facts(
        kind=kind_of(header),
        modality=_text(header, "Modality").upper(),
        number=_whole(header, "SeriesNumber"),
        texts=tuple(discreet(_text(header, keyword), naming) for keyword in _TEXTS),
        image_type=tuple(word.upper() for word in _words(header, "ImageType")),
        agent=bool(_text(header, "ContrastBolusAgent")),
        times=tuple(_number(header, keyword) for keyword in _TIMES),
        study=_text(header, "StudyInstanceUID"),
    )


def kind_of(header: Any) -> str:
    """How the standard names the kind of object; empty where it has no name for it."""
    from pydicom.uid import UID_dictionary

    uid = header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID")
    return str(UID_dictionary[uid][0]) if uid in UID_dictionary else ""


def naming_parts(header: Any) -> tuple[str, ...]:
    """Words of a header, and of sequences in it, that name the patient, the longest first."""
    texts = list(_naming_texts(header))
    parts = {part for text in texts for part in (text, *re.split(r"[\^\s,=\\]+", text))}
    return tuple(sorted((one for one in parts if len(one) >= _SHORTEST), key=len, reverse=True))


def _naming_texts(header: Any) -> Iterator[str]:
    yield from (str(header.get(keyword) or "") for keyword in NAMING)
    for keyword in _INNER:
        for inner in header.get(keyword) or ():
            yield from _naming_texts(inner)


def discreet(text: str, naming: tuple[str, ...]) -> str:
    """`text` without parts that name the patient, and fit for a terminal."""
    for part in naming:
        text = re.sub(re.escape(part), "...", text, flags=re.IGNORECASE)
    return printable(text)


def _words(header: Any, keyword: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in _parts(header.get(keyword)))


def _parts(found: Any) -> Iterator[str]:
    if found is None or isinstance(found, str | int | float):
        found = [] if found is None else [found]
    yield from map(str, found)


def _text(header: Any, keyword: str) -> str:
    return " ".join(_words(header, keyword)).strip()


def _whole(header: Any, keyword: str) -> int | None:
    found = _number(header, keyword)
    return None if found is None else int(found)


def _number(header: Any, keyword: str) -> float | None:
    """The one number of an attribute; None where there is none, or are several."""
    try:
        (word,) = _words(header, keyword)
        return float(word)
    except ValueError:
        return None
