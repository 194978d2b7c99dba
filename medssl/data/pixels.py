"""Voxel values and grid of one image file, of whatever format; axes are X, Y, Z, places RAS+ mm."""

from contextlib import suppress
from pathlib import Path

import numpy as np

from medssl.data.dicom.lists import (
    SEGMENTS,
    is_list,
    listed_files,
    listed_label,
    listed_series,
)
from medssl.data.dicom.series import find_series
from medssl.data.dicom.structures import read_marked
from medssl.data.dicom.values import read_series, values_of
from medssl.data.files import DICOM, PICTURES, SUFFIXES, is_picture, visible
from medssl.data.geometry import Geometry
from medssl.data.joined import is_joined, joined_files
from medssl.data.metaimage import open_metaimage
from medssl.data.nifti import open_nifti
from medssl.data.nrrd import open_nrrd
from medssl.data.picture.png_slices import open_png_slices
from medssl.data.picture.read import read_picture
from medssl.data.stored import Stored
from medssl.errors import DataError

HEADERS = (".nhdr", ".mhd")
"""Types whose voxels may lie in a file beside the header."""

_OPENERS = {"nii": open_nifti, "nrrd": open_nrrd, "nhdr": open_nrrd, "png": open_png_slices}


def suffix(path: Path) -> str:
    """The image suffix of `path`, one of SUFFIXES.

    Raises:
        DataError: for any other.
    """
    for known in SUFFIXES:
        if path.name.lower().endswith(known):
            return known
    raise DataError(
        f"{path} is not of a known image type",
        f"its name ends in none of {' '.join((*SUFFIXES, *PICTURES, *DICOM))}",
        "convert it, or give the folder of a DICOM series",
    )


def files_of(path: Path) -> list[Path]:
    """The files that an image consists of.

    They are the image itself, what lies in the folder of a series, what a list of DICOM files
    names, the masks that are joined, or a header and its data beside it, where the header can be
    read.
    """
    if is_joined(path):
        return joined_files(path)
    if is_list(path):
        return listed_files(path)
    if path.is_dir():
        return [file for file in visible(path) if file.is_file()]
    if path.name.lower().endswith(HEADERS) and path.is_file():
        with suppress(DataError):
            return list(dict.fromkeys([path, open_image(path).block.file]))
    return [path]


def read_pixels(path: Path, channels: int = 1) -> tuple[np.ndarray, Geometry]:
    """Voxels [C, X, Y, Z] in the file's own type, rescaled as its header says, and their grid.

    Args:
        channels: of a picture: 1 for its brightness, 3 for red, green and blue. A volume has those
            that it has.

    Raises:
        DataError: if the file is missing, truncated, not an image or not a volume, if it claims
            more than it can hold, or if it names data that do not lie beside it.
    """
    _must_exist(path)
    if path.is_dir():
        return read_series(path)
    if is_picture(path):
        picture = read_picture(path)
        return picture.as_channels(channels), picture.geometry
    if is_list(path):
        return _read_list(path)
    stored = open_image(path)
    return stored.voxels(), stored.geometry


def read_grid(path: Path) -> Geometry:
    """The grid of an image from its header alone.

    Raises:
        DataError: as `read_pixels`, but for damaged voxels.
    """
    _must_exist(path)
    if path.is_file() and is_picture(path):
        return read_picture(path).geometry
    if is_list(path):
        return listed_series(path).geometry
    return find_series(path).geometry if path.is_dir() else open_image(path).geometry


def _read_list(path: Path) -> tuple[np.ndarray, Geometry]:
    """Voxels of the series, or the mask, that a list of DICOM files stands for."""
    if path.suffix == SEGMENTS:
        mask, geometry, _ = read_segments(path)
        return mask[None], geometry
    series = listed_series(path)
    return values_of(series), series.geometry


def read_segments(path: Path) -> tuple[np.ndarray, Geometry, tuple[str, ...]]:
    """The mask, uint8 [X, Y, Z], that a list of structures in DICOM stands for, and its grid.

    The third are sentences on structures that overlap.

    Raises:
        DataError: the list is damaged, or what it names cannot be read or lies on another grid.
    """
    series, (label, values) = listed_series(path), listed_label(path)
    mask, remarks = read_marked(label, values, series)
    return mask, series.geometry, remarks


def open_image(path: Path) -> Stored:
    """What the header of an image file says.

    Raises:
        DataError: as `read_grid`.
    """
    kind = suffix(path).split(".")[1]
    return _OPENERS.get(kind, open_metaimage)(path)


def _must_exist(path: Path) -> None:
    if not path.exists():
        raise DataError(f"{path} does not exist", "", "check the path")
    if not (path.is_file() or path.is_dir()):  # whoever reads a pipe may wait for ever
        raise DataError(f"{path} is neither a file nor a folder", "", "copy its content to a file")
    if path.is_file() and path.stat().st_size == 0:
        raise DataError(f"{path} is empty", "it has no bytes", "copy or download it again")
