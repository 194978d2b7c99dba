"""Images and masks with their grids: NIfTI, NRRD, MetaImage, pictures; DICOM is read only."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medssl.atomic import appearing
from medssl.data.dicom.lists import SEGMENTS
from medssl.data.dicom.series import Series
from medssl.data.dicom.slices import frame_of_reference
from medssl.data.dicom.values import values_of
from medssl.data.files import PICTURES, is_picture
from medssl.data.geometry import Geometry
from medssl.data.itk import write_itk
from medssl.data.joined import is_joined, join, named_by
from medssl.data.labels import Label
from medssl.data.nifti import write_nifti
from medssl.data.nrrd import nrrd_must_be_whole
from medssl.data.picture.mask import picture_mask
from medssl.data.picture.png_slices import write_png_slices
from medssl.data.picture.read import read_picture
from medssl.data.picture.write import write_png, write_tiff
from medssl.data.pixels import (
    files_of,
    open_image,
    read_grid,
    read_pixels,
    read_segments,
    suffix,
)
from medssl.data.regrid import regridded
from medssl.errors import DataError, MedsslError

FORMATS = {"nifti": ".nii.gz", "nrrd": ".nrrd", "mha": ".mha", "png": ".png", "tiff": ".tif"}
"""Formats in which masks and maps can be written, with their endings."""

PNG_SLICES = ".png.zip"
"""Ending of a PNG for each slice of a mask, in one zip file."""

NEARLY_WHOLE = 1e-3
"""How far a mask value may be from a whole number, as after a round trip through floats."""


@dataclass(frozen=True)
class Volume:
    """Voxels that know where they lie.

    Attributes:
        array: [C, X, Y, Z]; images float32, masks integer with C = 1.
        geometry: grid of X, Y, Z.
        source: the file or files, for messages.
        files: file of each channel, where they are several files.
        remarks: what was done to channels so that they share the grid, or where the structures of
            a mask overlap, in sentences.

    Raises:
        ValueError: if array and grid differ in shape.
    """

    array: np.ndarray
    geometry: Geometry
    source: str
    files: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.array.ndim != 4 or self.array.shape[1:] != self.geometry.shape:
            raise ValueError(f"array {self.array.shape} on a grid of {self.geometry.shape}")

    def file_of(self, channel: int) -> str:
        """The file that a message names for a channel."""
        return self.files[channel] if self.files else self.source


def read_volume(paths: Path | Sequence[Path], resample: bool = False) -> Volume:
    """An image as float32 [C, X, Y, Z], with the file's own axes.

    Args:
        paths: an image file (.nii, .nii.gz, .nrrd, .nhdr, .mha, .mhd; a fourth axis becomes
            channels), a picture or the folder of a DICOM series; several are channels, in this
            order, and must share one grid. A file given several times is read once and must have
            so many channels; a picture given once is grey, three times in colour.
        resample: channels on other grids are put on that of the first, see `medssl.data.regrid`.

    Raises:
        DataError: if a file is missing, truncated, not an image or not a volume, or if the channels
            do not fit.
    """
    given = [paths] if isinstance(paths, Path) else list(paths)
    arrays: list[np.ndarray] = []
    grids: list[Geometry] = []
    files: list[str] = []
    remarks: list[str] = []
    for path in dict.fromkeys(given):
        array, geometry = read_pixels(path, given.count(path))
        _must_fit(path, len(array), given.count(path))
        geometry = _laid(geometry, path, grids[0] if grids else None)
        own = _own(array, np.float32)
        if grids and not grids[0].matches(geometry):
            if not resample:
                raise _on_another_grid(str(path), str(given[0]), geometry, grids[0])
            _must_share_frame(str(path), str(given[0]), files_of(path)[0], files_of(given[0])[0])
            own, share = regridded(own, geometry, grids[0], str(path), str(given[0]))
            remarks.append(_remark(f"channel {len(files) + 1}", share))
        arrays.append(own)
        grids.append(geometry)
        files += [str(path)] * len(array)
    source = ", ".join(str(path) for path in dict.fromkeys(given))
    array = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return Volume(array, grids[0], source, tuple(files), tuple(remarks))


def volume_of(series: Sequence[Series], source: str, resample: bool = False) -> Volume:
    """DICOM series as channels, float32 [C, X, Y, Z].

    Args:
        source: what messages call them.
        resample: those on other grids are put on that of the first, see `medssl.data.regrid`.

    Raises:
        DataError: they do not share one grid, or values cannot be decoded.
    """
    first = series[0].geometry
    other, onto = "the series of channel {} of " + source, "the first"
    apart = [number for number, one in enumerate(series) if not first.matches(one.geometry)]
    for number in apart:
        name, one = other.format(number + 1), series[number]
        if not resample:
            raise _on_another_grid(name, onto, one.geometry, first)
        _must_share_frame(name, onto, one.files[0], series[0].files[0])
    arrays, remarks = [], []
    for number, one in enumerate(series):
        array = _own(values_of(one), np.float32)
        if number in apart:
            name = other.format(number + 1)
            array, share = regridded(array, one.geometry, first, name, onto)
            remarks.append(_remark(f"channel {number + 1}", share))
        arrays.append(array)
    files = tuple(str(one.files[0].parent) for one in series)
    array = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return Volume(array, first, source, files, tuple(remarks))


def _on_another_grid(name: str, onto: str, grid: Geometry, wanted: Geometry) -> DataError:
    return DataError(
        f"{name} does not lie on the grid of {onto}",
        grid.difference(wanted),
        "resample the channels of a case to one grid, or let it be done: `resample_channels: true` "
        "in the data spec, or --set resample_channels=true to predict",
    )


def _must_share_frame(name: str, onto: str, own: Path, wanted: Path) -> None:
    """Refuse DICOM whose places are those of different frames of reference."""
    frames = {frame_of_reference(own), frame_of_reference(wanted)} - {""}
    if len(frames) > 1:
        raise DataError(
            f"{name} cannot be resampled to the grid of {onto}",
            "their frames of reference differ, so that places in one say nothing of the other",
            "register one to the other",
        )


def _remark(name: str, share: float) -> str:
    beyond = f", and shows {share:.0%} of it" if share < 1 else ""
    return f"{name} was resampled to the grid of the first{beyond}"


def _must_fit(path: Path, found: int, wanted: int) -> None:
    if wanted > 1 and found != wanted:
        raise DataError(
            f"{path} has {found} channel{'s' * (found > 1)} instead of {wanted}",
            "the data spec declares more or fewer channels than the file holds",
            "correct the channels in the data spec",
        )


def read_mask(path: Path, labels: Sequence[Label] = (), on: Geometry | None = None) -> Volume:
    """A mask as integers [1, X, Y, Z]: uint8 where the values allow, else int32.

    Fractions within NEARLY_WHOLE of a whole number are rounded to it.

    Args:
        path: a file, or one that names masks of one structure each, see `medssl.data.joined`.
        labels: what the mask marks; those with a colour tell the values of a picture in colour.
        on: grid of its image. A picture seldom says how large its pixels are, so one of the same
            size lies there, whatever it says.

    Raises:
        DataError: as `read_volume`; also if the mask has channels, values that are not whole
            (NaN included) or beyond int32, or a colour that no label has.
    """
    if is_joined(path):
        return _joined(path, on)
    if path.suffix == SEGMENTS and path.is_file():
        marked, geometry, remarks = read_segments(path)
        return Volume(marked[None], geometry, str(path), remarks=remarks)
    if path.is_file() and path.stat().st_size and is_picture(path):
        array, picture = picture_mask(path, labels)
        geometry = _laid(picture.geometry, path, on)
    else:
        array, geometry = read_pixels(path)
    if len(array) != 1:
        raise DataError(f"{path} is not a mask", f"it has {len(array)} channels", "give one mask")
    if array.dtype == np.uint8:
        return Volume(_own(array, np.uint8), geometry, str(path))
    if array.dtype.kind == "f":
        array = _whole(array, path)
    low, high = int(array.min()), int(array.max())
    limits = np.iinfo(np.int32)
    if low < limits.min or high > limits.max:
        raise DataError(
            f"{path} is not a mask",
            f"it holds the value {low if low < limits.min else high}",
            "give classes small numbers, e.g. 1 to 255",
        )
    kind = np.uint8 if low >= 0 and high <= 255 else np.int32
    return Volume(_own(array, kind), geometry, str(path))


def _joined(path: Path, on: Geometry | None) -> Volume:
    """A mask of masks of one structure each."""

    def read(file: Path) -> tuple[np.ndarray, Geometry]:
        one = read_mask(file, (), on)
        return one.array[0], one.geometry

    array, geometry, remarks = join(path, read)
    return Volume(array[None], geometry, named_by(path), remarks=remarks)


def _laid(geometry: Geometry, path: Path, on: Geometry | None) -> Geometry:
    """The grid of a file that belongs to an image on another, as far as it says it."""
    known = on is not None and is_picture(path) and geometry.shape == on.shape
    return on if known and on is not None else geometry


def _whole(array: np.ndarray, path: Path) -> np.ndarray:
    """`array` rounded to whole numbers, if all values are near one."""
    whole: np.ndarray = np.rint(array)
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        odd = ~(np.abs(array - whole) <= NEARLY_WHOLE)
    if odd.any():
        values = np.unique(array[odd])
        named = ", ".join(f"{value:.6g}" for value in values[:3]).replace("nan", "NaN")
        more = f" and {len(values) - 3} more" if len(values) > 3 else ""
        raise DataError(
            f"{path} is not a mask",
            f"some of its values are not whole numbers: {named}{more}",
            "write 0 where it has NaN"
            if np.isnan(values).all()
            else "export it as integers, without interpolation",
        )
    return whole


def _own(array: np.ndarray, kind: type[np.generic]) -> np.ndarray:
    """`array` as `kind`, to be written to; a copy where that needs one."""
    with np.errstate(over="ignore"):  # beyond float32 is infinite
        return array.astype(kind, order="K", copy=not array.flags.writeable)


def read_geometry(path: Path) -> Geometry:
    """The grid of an image or DICOM series, from headers alone.

    Raises:
        DataError: if it is missing, not an image or not a volume.
    """
    return read_grid(path)


def write_mask(array: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Writes a uint8 or uint16 mask [X, Y, Z]; the file appears complete or not at all.

    A PNG holds one of one frame, a TIFF a page for each, .png.zip a PNG for each.

    Raises:
        DataError: if the suffix is not one of a single-file image type.
    """
    kind = np.uint16 if array.dtype == np.uint16 else np.uint8
    _write(array.astype(kind, copy=False), geometry, path)


def write_volume(array: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Writes a map [X, Y, Z] as float32; the file appears complete or not at all.

    Raises:
        DataError: if the suffix is not one of a single-file image type.
    """
    _write(array.astype(np.float32, copy=False), geometry, path)


_WRITERS = {
    ".nii.gz": write_nifti,
    ".nii": write_nifti,
    ".png": write_png,
    ".tif": write_tiff,
    PNG_SLICES: write_png_slices,
}


def _write(array: np.ndarray, geometry: Geometry, path: Path) -> None:
    if array.shape != geometry.shape:
        raise ValueError(f"array {array.shape} on a grid of {geometry.shape}")
    ending = path.suffix.lower() if is_picture(path) else suffix(path)
    if ending in PICTURES and ending not in _WRITERS:
        raise DataError(
            f"{path} cannot be written", f"{ending} is read only", "choose .png or .tif"
        )
    if ending in (".mhd", ".nhdr"):
        raise DataError(
            f"{path} cannot be written",
            f"{ending} needs a second file",
            "choose .nii.gz, .nrrd or .mha",
        )
    write = _WRITERS.get(ending, write_itk)
    with appearing(path) as beside:
        try:
            write(array, geometry, beside)
            if ending in PICTURES:
                read_picture(beside)
            elif ending == ".nrrd":  # not every writer notices a full disk
                nrrd_must_be_whole(beside)
            else:
                open_image(beside).block.must_be_whole()
        except (RuntimeError, DataError) as error:
            raise MedsslError(
                f"{path} could not be written whole",
                "perhaps the disk is full",
                "free some space and run again",
            ) from error
