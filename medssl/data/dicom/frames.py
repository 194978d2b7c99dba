"""The slices of a multi-frame file: enhanced MR, CT and PET, and such with tags at the top level.

Enhanced objects say of each frame, or of all, where it lies and how it is rescaled. Others, such as
those of nuclear medicine, say where the first one lies and how far the next.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from medssl.data.dicom.examinations import Examination
from medssl.data.dicom.header import read_header
from medssl.data.dicom.stored import DAMAGE
from medssl.data.dicom.tags import Slice, StoredAs, are_perpendicular, refuse, stored_as

_MOST = 100_000
"""Frames; damaged headers ask for memory without end."""

_EXAMINATION = "StudyInstanceUID", "StudyDate", "FrameOfReferenceUID"

_MARKS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "echo time": (("MREchoSequence", "EffectiveEchoTime"),),
    "b-value": (("MRDiffusionSequence", "DiffusionBValue"),),
    "phase": (("FrameContentSequence", "TemporalPositionIndex"),),
    "trigger time": (("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),),
    "image type": (
        ("MRImageFrameTypeSequence", "FrameType"),
        ("CTImageFrameTypeSequence", "FrameType"),
        ("PETFrameTypeSequence", "FrameType"),
    ),
    "inversion time": (("MRModifierSequence", "InversionTimes"),),
    "acquisition": (("FrameContentSequence", "FrameAcquisitionNumber"),),
}
"""Where frames say what tells them apart, by the words that classic series are told apart by."""


def frames_of(path: Path, tags: Any, pixels: tuple[int, int] | None) -> list[Slice]:
    """The slices of a multi-frame file, in its own order.

    Args:
        tags: pydicom's header with `medssl.data.dicom.tags.tags`.
        pixels: as in `medssl.data.dicom.slices.Header`.

    Raises:
        DataError: its frames are not grey, do not say where they lie, or its header is damaged.
    """
    kept = stored_as(path, tags)
    try:
        header = read_header(path)
        count = int(header.get("NumberOfFrames") or 1)
        if not 1 <= count <= _MOST:
            refuse(path, "cannot be read", f"it claims to hold {count} frames")
        whole = pixels is not None and pixels[1] in (count * kept.bytes, count * kept.bytes + 1)
        at = pixels[0] if pixels is not None and whole else None
        if "PerFrameFunctionalGroupsSequence" in header:
            return list(_enhanced(path, header, kept, count, at))
        return list(_stacked(path, header, kept, count, at))
    except DAMAGE as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> Any:
    from medssl.errors import DataError

    return DataError(
        f"{path} cannot be read",
        "what it says of its frames is incomplete or damaged",
        "export the series again from its archive",
    )


def _enhanced(
    path: Path, header: Any, kept: StoredAs, count: int, at: int | None
) -> Iterator[Slice]:
    """Frames that functional groups describe."""
    shared = (header.get("SharedFunctionalGroupsSequence") or [None])[0]
    groups = header.PerFrameFunctionalGroupsSequence
    if len(groups) != count:
        refuse(path, "cannot be read", f"it describes {len(groups)} of its {count} frames")
    for number, own in enumerate(groups):
        place = _found(own, shared, "PlanePositionSequence", "ImagePositionPatient")
        turn = _found(own, shared, "PlaneOrientationSequence", "ImageOrientationPatient")
        spacing = _found(own, shared, "PixelMeasuresSequence", "PixelSpacing")
        if place is None or turn is None or spacing is None:
            _refuse_placeless(path)
        transformation = "PixelValueTransformationSequence"
        slope = _found(own, shared, transformation, "RescaleSlope")
        intercept = _found(own, shared, transformation, "RescaleIntercept")
        thickness = _found(own, shared, "PixelMeasuresSequence", "SliceThickness")
        yield _slice(
            path, header, kept, number, at,
            place=place, turn=turn, spacing=spacing, thickness=thickness,
            rescaled=(slope, intercept),
            marks=tuple(_marks(own, shared)),
        )  # fmt: skip


def _stacked(
    path: Path, header: Any, kept: StoredAs, count: int, at: int | None
) -> Iterator[Slice]:
    """Frames of which the first says where it lies."""
    detector = (header.get("DetectorInformationSequence") or [header])[0]
    place = header.get("ImagePositionPatient") or detector.get("ImagePositionPatient")
    turn = header.get("ImageOrientationPatient") or detector.get("ImageOrientationPatient")
    spacing, step = header.get("PixelSpacing"), header.get("SpacingBetweenSlices")
    if place is None or turn is None or spacing is None or (step is None and count > 1):
        _refuse_placeless(path)
    row, column = np.reshape(turn, (2, 3)).astype(float)
    away = np.cross(row, column) * float(step or 0)
    for number in range(count):
        yield _slice(
            path, header, kept, number, at,
            place=np.array(place, float) + number * away, turn=turn, spacing=spacing,
            thickness=header.get("SliceThickness"),
            rescaled=(header.get("RescaleSlope"), header.get("RescaleIntercept")),
            marks=(),
        )  # fmt: skip


def _slice(
    path: Path,
    header: Any,
    kept: StoredAs,
    number: int,
    at: int | None,
    place: Any,
    turn: Any,
    spacing: Any,
    thickness: Any,
    rescaled: tuple[Any, Any],
    marks: tuple[tuple[str, str], ...],
) -> Slice:
    slope, intercept = _rescaling(path, *rescaled)
    directions = np.reshape(turn, (2, 3)).astype(float)
    row, column = map(float, spacing)
    where = np.array(place, float)
    finite = np.isfinite([*where, row, column, slope, intercept]).all()
    if not finite or min(row, column) <= 0 or where.shape != (3,):
        raise ValueError("a frame lies nowhere")
    if not are_perpendicular(directions):
        refuse(path, "has frames whose axes are not at right angles", "its header is damaged")
    thick = float(thickness) if thickness else 0.0
    return Slice(
        path=path,
        series=str(header.SeriesInstanceUID),
        shape=kept.shape,
        place=where,
        directions=directions,
        spacing=(row, column),
        thickness=thick if thick > 0 else None,
        bits=kept.bits,
        signed=kept.signed,
        pixels_at=None if at is None else at + number * kept.bytes,
        slope=slope,
        intercept=intercept,
        uid=str(header.get("SOPInstanceUID") or ""),
        frame=number,
        marks=marks,
        examination=Examination(*(str(header.get(keyword) or "") for keyword in _EXAMINATION)),
    )


def _rescaling(path: Path, slope: Any, intercept: Any) -> tuple[float, float]:
    """Slope and intercept of a frame, each as pydicom has it; None or empty where not stated."""
    stated = [value not in (None, "") for value in (slope, intercept)]
    if not any(stated):
        return 1.0, 0.0
    if not all(stated):
        has, lacks = ("slope", "intercept") if stated[0] else ("intercept", "slope")
        refuse(path, f"has frames with a rescale {has} but no {lacks}", "one has no meaning alone")
    if float(slope) == 0:
        refuse(path, "has frames with a rescale slope of 0", "all values of a frame would be alike")
    return float(slope), float(intercept)


def _found(own: Any, shared: Any, group: str, keyword: str) -> Any:
    """A value of a functional group, of the frame or of all; None where neither states it."""
    for groups in (own, shared):
        if groups is not None and group in groups and groups[group].value:
            value = groups[group].value[0].get(keyword)
            if value not in (None, ""):
                return value
    return None


def _marks(own: Any, shared: Any) -> Iterator[tuple[str, str]]:
    """What tells a frame from others at its position."""
    for name, places in _MARKS.items():
        for group, keyword in places:
            value = _found(own, shared, group, keyword)
            if value is not None:
                yield name, _said(value)
                break


def _said(value: Any) -> str:
    """A value, or several, as a text."""
    if isinstance(value, int | float):
        return f"{value:g}"
    return value if isinstance(value, str) else "\\".join(map(str, value))


def _refuse_placeless(path: Path) -> NoReturn:
    refuse(path, "cannot be used as a volume", "its frames do not say where they lie")
