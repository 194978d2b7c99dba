"""NIfTI files: their headers, and files that lie where others lie.

nibabel reads the header, and its choice of transform is medssl's: sform, else qform, else neither.
Other readers choose by other rules. So a grid remembers both transforms, and what is written on it
gets the same two: whatever a viewer makes of the scan, it makes of the mask.
"""

import gzip
import logging
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from medssl.data.blocks import Block, bytes_of, is_gzip, unreadable
from medssl.data.geometry import Geometry, NiftiTransforms
from medssl.data.itk import PackedIntegers, in_file_order
from medssl.data.stored import Stored, complex_values, find_axes, grid
from medssl.errors import DataError

_MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}
"""What one unit of space measures; files that do not say so mean millimetres."""

_BOTH_HEADERS = 540  # bytes; enough for either version
_LONGEST_HEADER = 2**26  # bytes, extensions included
_SCANNER = 1  # code of a transform to the scanner's space
_LONGEST_AXIS = 2**15 - 1  # of NIfTI-1
_LEVEL = 2  # of zlib; more costs more time than the smaller file is worth
_CHUNK = 1 << 20
_SILENT = logging.Logger("headers", logging.CRITICAL + 1)


def open_nifti(path: Path) -> Stored:
    """What the header says, weighed against the length of the file.

    Colours are channels. `xyzt_units` are heeded; a slope of 0 means no rescaling.

    Raises:
        DataError: it is no NIfTI file, no volume, or holds complex numbers; the header contradicts
            itself, or claims more than the file can hold.
    """
    from nibabel.spatialimages import HeaderDataError

    packed = is_gzip(path)
    raw = _header(path, packed)
    header = raw.copy()
    try:
        header.check_fix(_SILENT, error_level=40)
        kind, found = header.get_data_dtype(), header.get_data_shape()
        start = _start(path, header)
        affine = header.get_best_affine()
    except (HeaderDataError, ValueError, OverflowError) as error:
        raise unreadable(path, str(error)) from error
    lengths, colours = tuple(int(length) for length in found), None
    names = kind.names or ()
    if names:
        kind, lengths, colours = np.dtype(np.uint8), (len(names), *lengths), 0
    axes = find_axes(path, lengths, colours)
    count = math.prod(lengths)
    scaling = None if names else _scaling(path, header)
    if packed:
        plain = kind.kind in "iu" and not names and scaling is None
        block = (PackedIntegers if plain else Block)(path, path, 0, kind, count, "deflated", start)
    else:
        block = Block(path, path, start, kind, count)
    block.must_fit()
    affine[:3] *= _MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)
    geometry = grid(axes.shape, affine, path, _transforms(raw))
    return Stored(geometry, block, axes, scaling)


def _header(path: Path, packed: bool) -> Any:
    """The header of either version, as it stands in the file."""
    import nibabel

    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            first = file.read(_BOTH_HEADERS)
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path) from error
    for kind in (nibabel.Nifti1Header, nibabel.Nifti2Header):
        block = first[: kind.sizeof_hdr]
        for order in ("<", ">"):
            size = int.from_bytes(block[:4], "little" if order == "<" else "big")
            if size == kind.sizeof_hdr == len(block):
                return _single(path, kind(block, order, check=False))
    raise unreadable(path, "it does not begin as a NIfTI file does")


def _single(path: Path, header: Any) -> Any:
    """`header`, of a file that holds its voxels itself."""
    if header["magic"].item() == header.pair_magic:
        raise DataError(
            f"{path} cannot be read",
            "it is one half of a pair, its voxels lie in an .img file",
            "convert the pair to one .nii.gz file",
        )
    if not 1 <= int(header["dim"][0]) <= 7:
        raise unreadable(path, f"its header counts {int(header['dim'][0])} axes")
    return header


def _start(path: Path, header: Any) -> int:
    """The byte at which voxels begin, in the unpacked file."""
    start = int(header["vox_offset"])
    if not header.single_vox_offset <= start <= _LONGEST_HEADER:
        raise unreadable(path, f"its header says that voxels begin at byte {start}")
    if header.get_data_dtype().kind == "c":
        raise complex_values(path)
    return start


def _scaling(path: Path, header: Any) -> tuple[float, float] | None:
    """Slope and intercept; None where values are as stored."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or math.isnan(slope) or (slope, intercept) == (1, 0):
        return None
    if not math.isfinite(slope) or not math.isfinite(intercept):
        raise DataError(
            f"{path} cannot be read",
            f"its header rescales voxels by {slope:g} and adds {intercept:g}",
            "repair scl_slope and scl_inter of its header",
        )
    return slope, intercept


def _transforms(header: Any) -> NiftiTransforms:
    return NiftiTransforms({name: header[name].tolist() for name in NiftiTransforms.FIELDS})


def write_nifti(array: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Write [X, Y, Z] to .nii or .nii.gz, with the transforms that `geometry` remembers.

    Without any, qform and sform are both set, in mm of the scanner; of a sheared grid only sform,
    since no qform can express it.
    """
    header = _written_header(array, geometry)
    parts = bytes_of(in_file_order(array))
    packer = (
        zlib.compressobj(_LEVEL, zlib.DEFLATED, 31) if path.name.lower().endswith(".gz") else None
    )
    with path.open("wb") as file:
        head = header.binaryblock + bytes(4)  # no extensions
        file.write(packer.compress(head) if packer else head)
        for start in range(0, len(parts), _CHUNK):
            part = parts[start : start + _CHUNK]
            file.write(packer.compress(part) if packer else part)
        if packer:
            file.write(packer.flush())


def _written_header(array: np.ndarray, geometry: Geometry) -> Any:
    import nibabel

    long = max(array.shape) > _LONGEST_AXIS
    header = (nibabel.Nifti2Header if long else nibabel.Nifti1Header)()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    header.set_slope_inter(1, 0)
    header["vox_offset"] = header.single_vox_offset
    header["magic"] = header.single_magic
    if geometry.nifti is not None:
        for name, value in geometry.nifti.fields.items():
            header[name] = [*value[:4], *header[name][4:]] if name == "pixdim" else value
        return header
    header.set_xyzt_units("mm")
    header.set_zooms(geometry.spacing)
    header.set_sform(geometry.affine, _SCANNER)
    if not geometry.is_sheared:
        header.set_qform(geometry.affine, _SCANNER)
    return header
