"""What the OME-XML in a TIFF says of its first image: scale and objective.

Source: OME data model, schema 2016-06.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from medssl.data.slide.xml import parse_xml
from medssl.errors import DataError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_START = re.compile(r"\s*(<\?xml[^>]*>)?\s*(<!--.*?-->\s*)*<(\w+:)?OME[\s>]", re.DOTALL)
_DECLARED = re.compile(r"<!(DOCTYPE|ENTITY)", re.IGNORECASE)

MICRONS = {
    "m": 1e6, "dm": 1e5, "cm": 1e4, "mm": 1e3, "µm": 1.0, "nm": 1e-3, "pm": 1e-6, "Å": 1e-4,
    "um": 1.0, "micron": 1.0, "microns": 1.0, "in": 25_400.0, "inch": 25_400.0,
}  # fmt: skip
"""Microns in each unit of length; without a unit, lengths are in microns."""


def is_ome(description: str) -> bool:
    """Whether a TIFF's description is OME-XML; also where it begins with a document type."""
    return bool(_START.match(description)) or (
        bool(_DECLARED.search(description)) and "OME" in description
    )


def ome_properties(description: str, path: Path) -> dict[str, float]:
    """`mpp-x`, `mpp-y` and `objective-power`, as far as they are stated.

    Raises:
        DataError: the XML is broken, declares entities or names pixels in another file.
    """
    root = parse_xml(description.encode(), path, "slides")
    _must_be_one_file(root, path)
    found: dict[str, float] = {}
    pixels = _first(root, "Pixels")
    for axis in "XY":
        size = _number(pixels, f"PhysicalSize{axis}")
        unit = _attribute(pixels, f"PhysicalSize{axis}Unit") or "µm"
        scale = MICRONS.get(unit.strip().replace("\N{GREEK SMALL LETTER MU}", "µ"))
        if size is not None and scale is not None:
            found[f"mpp-{axis.lower()}"] = size * scale
    power = _number(_first(root, "Objective"), "NominalMagnification")
    if power is not None:
        found["objective-power"] = power
    return found


def _must_be_one_file(root: "Element", path: Path) -> None:
    own = root.get("UUID")
    for element in root.iter():
        if _name(element) == "UUID" and (element.text or "").strip() != own:
            raise DataError(
                f"{path} is one of several files that make an image",
                "others are named in it, and only whole slides are read",
                "export the slide as one file",
            )


def _first(root: "Element", name: str) -> "Element | None":
    return next((element for element in root.iter() if _name(element) == name), None)


def _name(element: "Element") -> str:
    return element.tag.rpartition("}")[2]


def _attribute(element: "Element | None", name: str) -> str | None:
    return None if element is None else element.get(name)


def _number(element: "Element | None", name: str) -> float | None:
    try:
        value = float(_attribute(element, name) or "")
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None
