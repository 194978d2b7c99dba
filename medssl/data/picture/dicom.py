"""Single DICOM files as pictures: CR, DX, US, ES, MG and their like, grey or in colour.

Several frames of one file are frames of the picture.

Legend: F frames, H rows, W columns, S values of a pixel.
"""

from pathlib import Path
from typing import Any

import numpy as np

from medssl.data.dicom.header import read_header
from medssl.data.dicom.single import Stated, read_single, spacing_of, undecoded
from medssl.data.dicom.stored import DAMAGE, stored_values
from medssl.data.files import DICOM, visible
from medssl.data.picture.picture import Picture, must_not_be_huge, plausible
from medssl.errors import DataError

_PALETTE = [f"{colour}PaletteColorLookupTable{part}" for colour in ("Red", "Green", "Blue")
            for part in ("Descriptor", "Data")]  # fmt: skip

_KINDS = (
    "MONOCHROME1", "MONOCHROME2", "RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_ICT",
    "YBR_RCT", "YBR_PARTIAL_420",
)  # fmt: skip
"""Photometric interpretations that can be shown as grey or as red, green and blue."""

_VOLUMES = ("Enhanced CT", "Enhanced MR", "Enhanced PET", "Volume", "Segmentation", "Whole Slide")
"""Words in the names of kinds whose frames are no pictures by themselves."""

_CENTIMETRES = 3
"""The unit of a region of ultrasound whose steps are lengths."""


def read_dicom_picture(path: Path) -> Picture:
    """The image or images in a DICOM file; grey values are rescaled as the header says.

    Values of MONOCHROME1 are inverted: maximum - value.

    Raises:
        DataError: the file is damaged or too large, or its colours are of an unknown kind.
    """
    more = [*_PALETTE, "SequenceOfUltrasoundRegions", "SOPClassUID"]
    header, stated = read_single(path, "picture", more)
    if (other := _other_kind(header)) is not None:
        raise DataError(
            f"{path} is no picture",
            f"it is of the kind '{other}'",
            "give the folder of its series, or convert it to NIfTI",
        )
    kind = stated["PhotometricInterpretation"]
    if kind not in _KINDS:
        raise DataError(
            f"{path} cannot be read as a picture",
            f"its photometric interpretation is {kind}",
            "export it as MONOCHROME2 or RGB",
        )
    samples, frames = stated.get("SamplesPerPixel", 1), max(1, stated.get("NumberOfFrames", 1))
    if (samples == 1) != (kind == "PALETTE COLOR" or kind.startswith("MONOCHROME")):
        raise DataError(
            f"{path} has {samples} values of each pixel, and says that it is {kind}",
            "its header is damaged",
            "copy or export it again",
        )
    must_not_be_huge(path, frames, stated["Rows"], stated["Columns"], samples)
    shape = frames, stated["Rows"], stated["Columns"]
    try:
        pixels = _decoded(header, kind, shape, samples)
    except DAMAGE as error:
        raise undecoded(path, header) from error
    if kind == "MONOCHROME1":
        pixels = pixels.max() - pixels
    try:
        spacing = spacing_of(stated) or _of_ultrasound(header) or _aspect(stated)
    except DAMAGE as error:
        raise DataError(
            f"{path} has a region of ultrasound whose scale cannot be",
            "its header is damaged",
            "export it again, or correct its header",
        ) from error
    return Picture(path, pixels, spacing)


def holds_pictures(folder: Path) -> list[Path]:
    """The DICOM files directly in a folder, where they are pictures; empty where they are slices.

    Slices say where they lie in the patient, which pictures do not.
    """
    files = [one for one in visible(folder) if one.name.lower().endswith(DICOM)]
    return files if files and all(map(_lies_nowhere, files)) else []


def _lies_nowhere(path: Path) -> bool:
    groups = ("DetectorInformationSequence", "PerFrameFunctionalGroupsSequence")
    wanted = ["ImagePositionPatient", "SOPClassUID", "Rows", *groups]
    try:
        header = read_header(path, specific_tags=wanted)
        placed = _places(header) or any(
            _places(one) for group in groups for one in header.get(group) or ()
        )
        return "Rows" in header and not placed and not _other_kind(header)
    except DAMAGE:
        return False


def _places(holder: Any) -> bool:
    """Whether a header, a detector or a group of one frame says where it lies in the patient."""
    return "ImagePositionPatient" in holder or "PlanePositionSequence" in holder


def _other_kind(header: Any) -> str | None:
    """What the standard calls the kind of an object whose frames are no pictures; else None."""
    from pydicom.uid import UID_dictionary

    uid = header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID")
    name = str(UID_dictionary[uid][0]) if uid in UID_dictionary else ""
    return name if any(word in name for word in _VOLUMES) else None


def _decoded(header: Any, kind: str, shape: tuple[int, int, int], samples: int) -> np.ndarray:
    """[F, H, W, S]; DAMAGE where it cannot be."""
    from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

    alone = shape[0] == samples == 1
    if alone and kind.startswith("MONOCHROME"):
        found = stored_values(header)
    else:
        found = pixel_array(header)  # colours are red, green and blue from here on
    if kind == "PALETTE COLOR":
        found = apply_color_lut(found, header)
        found = (found >> 8).astype(np.uint8) if found.dtype == np.uint16 else found
        samples = 3
    elif samples == 1:
        found = apply_modality_lut(found, header)
        if found.dtype.kind == "f":
            found = found.astype(np.float32)
    return np.asarray(found).reshape(*shape, samples)


def _of_ultrasound(header: Any) -> tuple[float, float] | None:
    """The distances of rows and of columns in mm, where all regions of a scan agree."""
    found = set()
    for region in header.get("SequenceOfUltrasoundRegions") or ():
        units = region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection")
        if units == (_CENTIMETRES, _CENTIMETRES):
            down, right = (abs(float(region.get(f"PhysicalDelta{axis}", 0))) for axis in "YX")
            found.add((10 * down, 10 * right))
    return plausible(*found.pop()) if len(found) == 1 else None


def _aspect(stated: Stated) -> tuple[float, float] | None:
    """Sides of a pixel in columns' widths, where the file says no more than their ratio."""
    rows, columns = stated.get("PixelAspectRatio") or (0, 0)
    return plausible(rows / columns, 1.0) if rows and rows != columns else None
