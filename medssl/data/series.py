"""DICOM series folders: the slices of one series, in order, and the grid they form.

Only tags of position and pixels are read; nothing that names a patient leaves this module.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medssl.data.geometry import Geometry
from medssl.errors import DataError

_TAGS = (
    "SeriesInstanceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "Rows",
    "Columns",
)
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Series:
    """The files of one series, ordered along the slice normal, and their grid."""

    files: tuple[Path, ...]
    geometry: Geometry


def find_series(folder: Path) -> Series:
    """The one DICOM series in `folder`; files of other kinds are passed over.

    Raises:
        DataError: if there is no series or more than one, or its slices do not form one regular
            grid.
    """
    headers = _headers(folder)
    _refuse_mixtures(folder, [header for _, header in headers])
    first = headers[0][1]
    directions = np.array(first.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    normal = np.cross(directions[0], directions[1])
    headers.sort(key=lambda item: float(normal @ np.array(item[1].ImagePositionPatient)))
    places = np.array([header.ImagePositionPatient for _, header in headers], dtype=np.float64)
    _refuse_gaps(folder, places @ normal)
    affine = np.eye(4)
    affine[:3, 0] = directions[0] * float(first.PixelSpacing[1])
    affine[:3, 1] = directions[1] * float(first.PixelSpacing[0])
    affine[:3, 2] = _slice_step(places, normal, first)
    affine[:3, 3] = places[0]
    shape = (int(first.Columns), int(first.Rows), len(headers))
    return Series(tuple(path for path, _ in headers), Geometry(shape, _LPS_TO_RAS @ affine))


def _headers(folder: Path) -> list[tuple[Path, Any]]:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    headers = []
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        try:
            header = dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
        except InvalidDicomError:
            continue
        if "Rows" in header:
            headers.append((path, header))
    if not headers:
        raise DataError(
            f"{folder} is a folder without DICOM images",
            "a folder given as an image must hold the slices of one DICOM series",
            "give the folder that directly holds the slices, or an image file",
        )
    return headers


def _refuse_mixtures(folder: Path, headers: list[Any]) -> None:
    placed = all("ImagePositionPatient" in h and "PixelSpacing" in h for h in headers)
    if not placed:
        raise DataError(
            f"{folder} holds DICOM images without a position of each slice",
            "multi-frame objects and projection images are not read as a series",
            "convert the series to NIfTI",
        )
    count = len(Counter(header.SeriesInstanceUID for header in headers))
    if count > 1:
        raise DataError(
            f"{folder} holds {count} DICOM series",
            "one image is one series",
            "put each series in a folder of its own",
        )
    turns = np.array([h.ImageOrientationPatient for h in headers], dtype=np.float64)
    sizes = {(h.Rows, h.Columns, *map(float, h.PixelSpacing)) for h in headers}
    if len(sizes) > 1 or np.abs(turns - turns[0]).max() > 1e-3:
        raise DataError(
            f"{folder} holds slices of different size or direction",
            "they do not form one volume",
            "remove localisers and other images from the folder",
        )


def _refuse_gaps(folder: Path, depths: np.ndarray) -> None:
    """Slices must be evenly spaced, to a tenth of their distance."""
    steps = np.diff(depths)
    if len(steps) == 0:
        return
    step = float(np.median(steps))
    if float(steps.min()) < 1e-3:
        raise DataError(
            f"{folder} holds several slices at one position",
            "the series mixes echoes, phases or repeats",
            "keep one of them",
        )
    if np.abs(steps - step).max() > 0.1 * step:
        after = int(np.abs(steps - step).argmax()) + 1
        raise DataError(
            f"{folder} lacks slices after slice {after} of {len(depths)}",
            f"the distance there is {steps[after - 1]:.3g} mm instead of {step:.3g} mm",
            "copy the series again, or leave the case out",
        )


def _slice_step(places: np.ndarray, normal: np.ndarray, header: Any) -> np.ndarray:
    """From one slice to the next, mm; a tilted gantry makes it differ from the normal."""
    if len(places) > 1:
        return np.asarray((places[-1] - places[0]) / (len(places) - 1))
    return np.asarray(normal * float(header.get("SliceThickness") or 1.0))
