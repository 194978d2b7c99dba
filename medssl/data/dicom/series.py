"""DICOM series folders: the slices of one series, in order, and the grid they form."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medssl.data.dicom.slices import first_slice_in, slices_in
from medssl.data.dicom.tags import Slice
from medssl.data.files import is_image
from medssl.data.geometry import Geometry
from medssl.data.stored import grid
from medssl.errors import DataError

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

_UNEVEN = 0.1
"""Share of the distance between slices by which one distance may differ."""

_SHIFTED = 0.25
"""Share of a pixel by which a slice may lie beside the line of the others."""


@dataclass(frozen=True)
class Series:
    """The slices of one series, ordered along their normal, and their grid."""

    slices: tuple[Slice, ...]
    geometry: Geometry

    @property
    def files(self) -> tuple[Path, ...]:
        """One per slice."""
        return tuple(one.path for one in self.slices)


def find_series(folder: Path) -> Series:
    """The one DICOM series in `folder`; see `slices` for what counts as a slice.

    Raises:
        DataError: there is no series or more than one, or an image of another format too; a slice
            is unreadable or lacks a tag; or the slices do not form one regular grid.
    """
    slices = slices_in(folder)
    if not slices:
        raise DataError(
            f"{folder} is a folder without DICOM images",
            "a folder given as an image must hold the slices of one DICOM series",
            "give the folder that directly holds the slices, or an image file",
        )
    refuse_both_kinds(folder)
    return series_of(slices)


def series_of(slices: Sequence[Slice]) -> Series:
    """The series that some slices form; see `find_series`.

    Raises:
        DataError: they are of several series, or do not form one regular grid.
    """
    slices = list(slices)
    _refuse_mixtures(slices[0].path.parent, slices)
    first = slices[0]
    normal = np.cross(*first.directions)
    slices.sort(key=lambda one: float(normal @ one.place))
    places = np.array([one.place for one in slices])
    if len(slices) > 1:
        _refuse_gaps(slices, places @ normal)
        _refuse_jumps(slices, places, normal)
    affine = np.eye(4)
    affine[:3, 0] = first.directions[0] * first.spacing[1]
    affine[:3, 1] = first.directions[1] * first.spacing[0]
    affine[:3, 2] = _slice_step(slices, normal)
    affine[:3, 3] = places[0]
    rows, columns = first.shape
    shape = (columns, rows, len(slices))
    return Series(tuple(slices), grid(shape, _LPS_TO_RAS @ affine, first.path))


def refuse_both_kinds(folder: Path) -> None:
    """Refuse a folder that holds DICOM slices and an image of another format.

    Raises:
        DataError: it holds both, so that nobody can tell which is meant.
    """
    image = next((path for path in sorted(folder.iterdir()) if is_image(path)), None)
    found = first_slice_in(folder) if image is not None else None
    if image is not None and found is not None:
        raise DataError(
            f"{folder} holds both a DICOM series ({found.name}, ...) and the image {image.name}",
            "which of them is meant cannot be told",
            "move one of them to another folder",
        )


def _refuse_mixtures(folder: Path, slices: Sequence[Slice]) -> None:
    count = len({one.series for one in slices})
    if count > 1:
        raise DataError(
            f"{folder} holds {count} DICOM series",
            "one image is one series",
            "put each series in a folder of its own",
        )
    _refuse_examinations(folder, slices)
    first = slices[0]
    if len({one.unit for one in slices}) > 1:
        raise DataError(
            f"{folder} holds slices of PET in several units",
            "they are in SUV only where their tags allow",
            "export the series again from its archive",
        )
    for one in slices:
        turned = np.abs(one.directions - first.directions).max() > 1e-3
        if turned or (one.shape, one.spacing) != (first.shape, first.spacing):
            raise DataError(
                f"{folder} holds slices of different size or direction, {first.path.name} and "
                f"{one.path.name}",
                "they do not form one volume",
                "remove localisers and other images from the folder",
            )


def _refuse_examinations(folder: Path, slices: Sequence[Slice]) -> None:
    """Refuse slices that follow-ups share a series with; of one alone its header may be damaged."""
    counts = Counter(one.examination for one in slices)
    several = [one for one, count in counts.most_common() if count > 1]
    for other in several[1:]:
        if other.may_be_apart_from(several[0]):
            raise _of_two_examinations(
                folder,
                *(
                    next(one for one in slices if one.examination == of)
                    for of in (several[0], other)
                ),
            )


def _of_two_examinations(folder: Path, one: Slice, other: Slice) -> DataError:
    alike = one.path.name == other.path.name
    first, second = (str(slice_.path if alike else slice_.path.name) for slice_ in (one, other))
    return DataError(
        f"{folder} holds slices of two examinations that share one SeriesInstanceUID, "
        f"{first} and {second}",
        "their study, date or frame of reference differ, so they are not one scan",
        "put the slices of each examination into a folder of its own and give that",
    )


def _refuse_gaps(slices: Sequence[Slice], depths: np.ndarray) -> None:
    """Refuse slices that are not evenly spaced."""
    steps = np.diff(depths)
    step = float(np.median(steps))
    folder = slices[0].path.parent
    nearest = int(steps.argmin())
    if float(steps[nearest]) < 1e-3:
        one, other = slices[nearest], slices[nearest + 1]
        if one.examination.may_be_apart_from(other.examination):
            raise _of_two_examinations(folder, one, other)
        raise DataError(
            f"{folder} holds several slices at one position, {one.path.name} and {other.path.name}",
            "the series mixes echoes, phases or repeats",
            "keep one of them",
        )
    if np.abs(steps - step).max() > _UNEVEN * step:
        after = int(np.abs(steps - step).argmax()) + 1
        raise DataError(
            f"{folder} lacks slices after slice {after} of {len(depths)} "
            f"({slices[after - 1].path.name})",
            f"the distance there is {steps[after - 1]:.3g} mm instead of {step:.3g} mm",
            "copy the series again, or leave the case out",
        )


def _refuse_jumps(slices: Sequence[Slice], places: np.ndarray, normal: np.ndarray) -> None:
    """Refuse slices that do not lie on one straight line; it may lean, as with a tilted gantry."""
    aside = places - np.outer(places @ normal, normal)
    line = np.linspace(aside[0], aside[-1], len(aside))
    if np.linalg.norm(aside - line, axis=1).max() <= _SHIFTED * min(slices[0].spacing):
        return
    steps = np.diff(aside, axis=0)
    jumps = np.linalg.norm(steps - np.median(steps, axis=0), axis=1)
    after = int(jumps.argmax())
    raise DataError(
        f"{slices[0].path.parent} holds slices that are shifted against each other, "
        f"{slices[after].path.name} and {slices[after + 1].path.name}",
        f"they lie {jumps[after]:.3g} mm aside from where the others lead",
        "reconstruct or export the series again, or leave the case out",
    )


def _slice_step(slices: Sequence[Slice], normal: np.ndarray) -> np.ndarray:
    """From one slice to the next, mm; a tilted gantry makes it differ from the normal."""
    first, last = slices[0], slices[-1]
    if len(slices) > 1:
        return np.asarray((last.place - first.place) / (len(slices) - 1))
    if first.thickness is None:
        raise DataError(
            f"{first.path} states no SliceThickness",
            "it is the only slice, and nothing else says how thick the volume is",
            "convert it to NIfTI with its thickness",
        )
    return np.asarray(normal * first.thickness)
