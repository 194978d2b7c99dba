"""Images and masks with their grids: NIfTI, NRRD, MetaImage; DICOM series are read only."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK

from medssl.data.geometry import Geometry
from medssl.data.pixels import read_grid, read_pixels, suffix
from medssl.errors import DataError

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Volume:
    """Voxels that know where they lie.

    Attributes:
        array: [C, X, Y, Z]; images float32, masks integer with C = 1.
        geometry: grid of X, Y, Z.
        source: the file or files, for messages.
        files: file of each channel, where they are several files.

    Raises:
        ValueError: if array and grid differ in shape.
    """

    array: np.ndarray
    geometry: Geometry
    source: str
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.array.ndim != 4 or self.array.shape[1:] != self.geometry.shape:
            raise ValueError(f"array {self.array.shape} on a grid of {self.geometry.shape}")

    def file_of(self, channel: int) -> str:
        """What a message names for one channel."""
        return self.files[channel] if self.files else self.source


def read_volume(paths: Path | Sequence[Path]) -> Volume:
    """An image as float32 [C, X, Y, Z], with the file's own axes.

    Args:
        paths: an image file (.nii, .nii.gz, .nrrd, .nhdr, .mha, .mhd; a fourth axis becomes
            channels) or the folder of a DICOM series; several are channels, in this order, and
            must share one grid. A file given several times is read once and must have so many
            channels.

    Raises:
        DataError: if a file is missing, truncated, not an image or not a volume, or if the channels
            do not fit.
    """
    given = [paths] if isinstance(paths, Path) else list(paths)
    arrays: list[np.ndarray] = []
    grids: list[Geometry] = []
    files: list[str] = []
    for path in dict.fromkeys(given):
        array, geometry = read_pixels(path)
        _must_fit(path, len(array), given.count(path))
        if grids and not grids[0].matches(geometry):
            raise DataError(
                f"{path} does not lie on the grid of {given[0]}",
                geometry.difference(grids[0]),
                "resample the channels of a case to one grid",
            )
        arrays.append(array.astype(np.float32, order="K", copy=False))
        grids.append(geometry)
        files += [str(path)] * len(array)
    source = ", ".join(str(path) for path in dict.fromkeys(given))
    array = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return Volume(array, grids[0], source, tuple(files))


def _must_fit(path: Path, found: int, wanted: int) -> None:
    if wanted > 1 and found != wanted:
        raise DataError(
            f"{path} has {found} channel{'s' * (found > 1)} instead of {wanted}",
            "the data spec declares more or fewer channels than the file holds",
            "correct the channels in the data spec",
        )


def read_mask(path: Path) -> Volume:
    """A mask as integers [1, X, Y, Z]: uint8 where the values allow, else int32.

    Raises:
        DataError: as `read_volume`; also if the mask has channels or values that are not whole.
    """
    array, geometry = read_pixels(path)
    if len(array) != 1:
        raise DataError(f"{path} is not a mask", f"it has {len(array)} channels", "give one mask")
    if array.dtype.kind == "f":
        array = _whole(array, path)
    low, high = int(array.min()), int(array.max())
    kind = np.uint8 if low >= 0 and high <= 255 else np.int32
    return Volume(array.astype(kind, order="K", copy=False), geometry, str(path))


def _whole(array: np.ndarray, path: Path) -> np.ndarray:
    if not np.isfinite(array).all() or not np.array_equal(array, np.rint(array)):
        raise DataError(
            f"{path} is not a mask",
            "some of its values are not whole numbers",
            "export it as integers, without interpolation",
        )
    return array.astype(np.int64, order="K")


def read_geometry(path: Path) -> Geometry:
    """The grid of an image or DICOM series, from headers alone.

    Raises:
        DataError: if it is missing, not an image or not a volume.
    """
    return read_grid(path)


def write_mask(array: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Writes a uint8 mask [X, Y, Z]; the file appears complete or not at all.

    Raises:
        DataError: if the suffix is not one of a single-file image type.
    """
    _write(array.astype(np.uint8, copy=False), geometry, path)


def write_volume(array: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Writes a map [X, Y, Z] as float32; the file appears complete or not at all.

    Raises:
        DataError: if the suffix is not one of a single-file image type.
    """
    _write(array.astype(np.float32, copy=False), geometry, path)


def _write(array: np.ndarray, geometry: Geometry, path: Path) -> None:
    if array.shape != geometry.shape:
        raise ValueError(f"array {array.shape} on a grid of {geometry.shape}")
    ending = suffix(path)
    if ending in (".mhd", ".nhdr"):
        raise DataError(
            f"{path} cannot be written",
            f"{ending} needs a second file",
            "choose .nii.gz, .nrrd or .mha",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}{ending}")
    try:
        if ending.startswith(".nii") and not _orthonormal(geometry):
            _write_sheared(array, geometry, beside)
        else:
            SimpleITK.WriteImage(_itk_image(array, geometry), str(beside), useCompression=True)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _orthonormal(geometry: Geometry) -> bool:
    directions = geometry.directions
    return bool(np.allclose(directions.T @ directions, np.eye(3), atol=1e-6))


def _itk_image(array: np.ndarray, geometry: Geometry) -> SimpleITK.Image:
    affine = _RAS_TO_LPS @ geometry.affine
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / geometry.spacing).ravel().tolist())
    return image


def _write_sheared(array: np.ndarray, geometry: Geometry, path: Path) -> None:
    """ITK cannot express a sheared NIfTI grid; nibabel can, in the sform."""
    import nibabel

    image = nibabel.Nifti1Image(array, geometry.affine)
    nibabel.save(image, path)
