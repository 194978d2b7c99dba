"""Codes that DICOM wants for structures, looked up by name where the data spec gives none.

The names are those of the standard's own lists of what segments can be (CID 7192 anatomical
structures, 7194 abnormal ones, 7191 tissues), and some that people write instead. A side in a name
becomes a modifier.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from medssl.data.labels import Code, Label
from medssl.names import some_of

# The terms that 3D Slicer writes where none was chosen; true of anything segmented in a body.
GENERIC = Code(value="85756007", scheme="SCT", meaning="Tissue")

_CATEGORIES = {
    7192: Code(value="91723000", meaning="Anatomical Structure"),
    7194: Code(value="49755003", meaning="Morphologically Abnormal Structure"),
    7191: GENERIC,
}
_SIDES = {
    "left": Code(value="7771000", meaning="Left"),
    "right": Code(value="24028007", meaning="Right"),
}
_OTHERWISE = {
    "gm": "gray matter", "grey matter": "gray matter", "wm": "white matter",
    "csf": "cerebrospinal fluid", "brainstem": "brain stem", "caudate": "caudate nucleus",
    "accumbens": "nucleus accumbens", "pallidum": "globus pallidus",
    "tumour": "neoplasm", "tumor": "neoplasm", "cancer": "neoplasm", "metastasis": "neoplasm",
    "oedema": "edema", "lesions": "lesion", "nodules": "nodule", "urinary bladder": "bladder",
    "small bowel": "small intestine", "oesophagus": "esophagus",
    "ivc": "inferior vena cava", "postcava": "inferior vena cava", "gall bladder": "gallbladder",
    "adrenal": "adrenal gland", "parotid": "parotid gland", "optic chiasma": "optic chiasm",
    "fat": "adipose tissue",
}  # fmt: skip
"""What people write, and what the standard calls it."""


@dataclass(frozen=True)
class Terms:
    """What a segment is, in codes.

    Attributes:
        side: left or right, where the name says so and the code does not.
        guess: whether they were looked up, as the data spec gives none.
    """

    category: Code
    kind: Code
    side: Code | None = None
    guess: bool = False


def terms_of(label: Label) -> Terms:
    """Those of the data spec; else those looked up by name; else generic ones."""
    if label.code is not None:
        return Terms(label.category or GENERIC, label.code)
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label.name).lower())
    for side, code in (("", None), *_SIDES.items()):
        rest = [word for word in words if word != side]
        if (not side or len(rest) < len(words)) and (found := _known(" ".join(rest))):
            return Terms(label.category or found[0], found[1], code, guess=True)
    return Terms(label.category or GENERIC, GENERIC, guess=True)


def concept(code: Code) -> Any:
    """A code as highdicom has it."""
    import highdicom

    return highdicom.sr.CodedConcept(code.value, code.scheme, code.meaning)


def guessed(labels: Sequence[Label]) -> list[str]:
    """Warnings about the labels without a code in the data spec, in sentences."""
    terms = {label.name: terms_of(label) for label in labels}
    found, unknown = [], []
    for name, one in terms.items():
        if not one.guess:
            continue
        if one.kind == GENERIC:
            unknown.append(name)
        else:
            side = f", {one.side.meaning.lower()}" if one.side else ""
            found.append(f"{name}: {one.kind.meaning}{side} (SCT {one.kind.value})")
    said = []
    if found:
        said.append(f"codes were looked up by name, as the data spec has none: {'; '.join(found)}")
    if unknown:
        said.append(
            f"no code is known for {some_of(unknown)}: DICOM calls it {GENERIC.meaning} (SCT "
            f"{GENERIC.value}); give the labels a code in the data spec"
        )
    return said


def _known(name: str) -> tuple[Code, Code] | None:
    """Category and type of a structure that the standard knows."""
    for words in dict.fromkeys((name, _OTHERWISE.get(name, name))):
        for one in (words, words.removesuffix("s")):
            if found := _listed().get(one.replace(" ", "")):
                return found
    return None


@cache
def _listed() -> dict[str, tuple[Code, Code]]:
    """Category and type by name, in small letters without spaces."""
    from pydicom.sr.codedict import codes

    found: dict[str, tuple[Code, Code]] = {}
    for number, category in _CATEGORIES.items():
        concepts = getattr(codes, f"cid{number}")
        for name in concepts.dir():
            one = getattr(concepts, name)
            if one.scheme_designator == "SCT":
                code = Code(value=one.value, scheme="SCT", meaning=one.meaning)
                found.setdefault(name.lower(), (category, code))
    return found
