"""Voxel values and grid of one image file; the only place that knows axis orders and LPS/RAS.

SimpleITK reads the voxels (7x faster than nibabel on .nii.gz) as [z, y, x] in LPS+ millimetres.
NIfTI is shared with nibabel. Grids come from it, because ITK refuses sheared affines and chooses
between qform and sform by rules of its own. Voxels do where ITK would change them in silence: it
turns NaN and infinity into 0, and fills up truncated files with zeros.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from medssl.data.dicom.series import find_series
from medssl.data.dicom.values import read_series
from medssl.data.files import SUFFIXES
from medssl.data.geometry import Geometry
from medssl.errors import DataError

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

# What ITK warns of on stderr is found and said by medssl itself.
SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)


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
        f"its name ends in none of {' '.join(SUFFIXES)}",
        "convert it, or give the folder of a DICOM series",
    )


def read_pixels(path: Path) -> tuple[np.ndarray, Geometry]:
    """Voxels [C, X, Y, Z] in the file's own type, rescaled as its header says, and their grid.

    Raises:
        DataError: if the file is missing, truncated, not an image or not a volume.
    """
    _must_exist(path)
    if path.is_dir():
        return read_series(path)
    if suffix(path).startswith(".nii"):
        return _read_nifti(path)
    with _failures(path):
        image = SimpleITK.ReadImage(str(path))
    return _channels_first(image, path), _itk_grid(image, path)


def read_grid(path: Path) -> Geometry:
    """The grid of an image from its header alone.

    Raises:
        DataError: if the file is missing, not an image or not a volume.
    """
    _must_exist(path)
    if path.is_dir():
        return find_series(path).geometry
    if suffix(path).startswith(".nii"):
        return _nifti_grid(_open_nifti(path), path)
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    with _failures(path):
        reader.ReadImageInformation()
    return _itk_grid(reader, path)


def _must_exist(path: Path) -> None:
    if not path.exists():
        raise DataError(f"{path} does not exist", "", "check the path")
    if path.is_file() and path.stat().st_size == 0:
        raise DataError(f"{path} is empty", "it has no bytes", "copy or download it again")


@contextmanager
def _failures(path: Path) -> Iterator[None]:
    """Turns what the readers raise into one sentence."""
    import zlib

    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    try:
        yield
    except (RuntimeError, OSError, EOFError, ValueError, zlib.error, ImageFileError) as error:
        raise _unreadable(path) from error
    except HeaderDataError as error:
        raise _unreadable(path) from error


def _unreadable(path: Path) -> DataError:
    return DataError(
        f"{path} cannot be read",
        "it is truncated, damaged or not an image",
        "copy or download it again",
    )


def _open_nifti(path: Path) -> Any:
    import nibabel

    with _failures(path):
        return nibabel.load(path)


def _read_nifti(path: Path) -> tuple[np.ndarray, Geometry]:
    header = _open_nifti(path)
    geometry = _nifti_grid(header, path)
    whole_numbers = header.get_data_dtype().kind in "iu"
    if whole_numbers and _has_full_length(path, header):
        try:
            return _channels_first(SimpleITK.ReadImage(str(path)), path), geometry
        except RuntimeError:
            pass  # a sheared or odd affine, which nibabel reads
    with _failures(path):
        array = np.asanyarray(header.dataobj)
    return np.moveaxis(array.reshape(*geometry.shape, -1), -1, 0), geometry


def _has_full_length(path: Path, header: Any) -> bool:
    """Whether a NIfTI file is as long as its header says; gzip notes the length at its end."""
    voxels = int(np.prod(header.shape, dtype=np.int64))
    size = int(header.dataobj.offset) + voxels * header.get_data_dtype().itemsize
    if not path.name.lower().endswith(".gz"):
        return bool(path.stat().st_size >= size)
    with path.open("rb") as file:
        file.seek(-4, 2)
        return bool(int.from_bytes(file.read(4), "little") == size % 2**32)


def _nifti_grid(header: Any, path: Path) -> Geometry:
    return _grid(header.shape, header.affine, path)


def _itk_grid(image: Any, path: Path) -> Geometry:
    """The grid of a SimpleITK image, or of a reader that has seen its header."""
    dimension = image.GetDimension()
    size = image.GetSize()
    affine = np.eye(4)
    if dimension >= 3:
        directions = np.array(image.GetDirection()).reshape(dimension, dimension)[:3, :3]
        affine[:3, :3] = directions * np.array(image.GetSpacing()[:3])
        affine[:3, 3] = image.GetOrigin()[:3]
    return _grid(size, _LPS_TO_RAS @ affine, path)


def _grid(size: tuple[int, ...], affine: np.ndarray, path: Path) -> Geometry:
    if len(size) < 3:
        raise DataError(
            f"{path} is not a volume",
            f"it has {len(size)} axes",
            "give a three-dimensional image",
        )
    try:
        return Geometry((size[0], size[1], size[2]), affine)
    except ValueError as error:
        raise DataError(f"{path} has no valid grid", str(error), "repair its header") from error


def _channels_first(image: SimpleITK.Image, path: Path) -> np.ndarray:
    """[C, X, Y, Z] from ITK's [z, y, x], [z, y, x, c] or [t, z, y, x]; no copy beyond ITK's."""
    array: np.ndarray = SimpleITK.GetArrayFromImage(image).T
    if image.GetNumberOfComponentsPerPixel() > 1 and array.ndim == 4:
        return array
    if array.ndim == 3:
        return array[None]
    if array.ndim == 4:
        return np.moveaxis(array, -1, 0)
    raise DataError(
        f"{path} is not a volume",
        f"it has {array.ndim} axes",
        "give a three-dimensional image, channels as its fourth axis",
    )
