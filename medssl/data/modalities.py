"""Words for what made an image: those of DICOM, under their usual names too."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

KNOWN = {
    "MR": ("MRI", "MRT", "NMR"),
    "CT": ("CBCT", "COMPUTED TOMOGRAPHY"),
    "PT": ("PET", "POSITRON EMISSION TOMOGRAPHY"),
    "NM": ("SPECT", "SCINTIGRAPHY", "NUCLEAR MEDICINE"),
    "CR": ("COMPUTED RADIOGRAPHY",),
    "DX": ("DR", "XRAY", "X RAY", "RADIOGRAPH", "RADIOGRAPHY", "DIGITAL RADIOGRAPHY"),
    "MG": ("MAMMOGRAPHY", "MAMMOGRAM"),
    "US": ("ULTRASOUND", "SONOGRAPHY", "ECHOCARDIOGRAPHY"),
    "XA": ("ANGIOGRAPHY", "DSA"),
    "RF": ("FLUOROSCOPY",),
    "ES": ("ENDOSCOPY", "COLONOSCOPY"),
    "OCT": ("OPTICAL COHERENCE TOMOGRAPHY",),
    "OP": ("FUNDUS", "FUNDUS PHOTOGRAPHY", "OPHTHALMIC PHOTOGRAPHY"),
    "XC": ("PHOTOGRAPH", "PHOTOGRAPHY", "PHOTO"),
    "DM": ("DERMOSCOPY", "DERMATOSCOPY"),
    "GM": ("MICROSCOPY",),
    "SM": ("SLIDE", "WSI", "HISTOPATHOLOGY", "SLIDE MICROSCOPY"),
    "OT": ("OTHER",),
}
"""Modalities of DICOM, each with names that mean it."""

_NAMES = {name: word for word, names in KNOWN.items() for name in (word, *names)}


def _known(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    plain = " ".join(re.split(r"[\s_-]+", given.strip())).upper()
    return _NAMES.get(plain, given.strip())


def _is_word(given: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.+-]{0,31}", given):
        raise ValueError("a modality is a short word, e.g. MR, CT, US; OT is any other")
    return given


Modality = Annotated[str, AfterValidator(_is_word), BeforeValidator(_known)]
"""A word for what made an image; of known names the one that DICOM has, others as they are."""
