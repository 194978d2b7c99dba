"""NIfTI: every field of the header, voxels, shapes, bytes inside and outside of gzip."""

import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.random import Generator

from tests.drivers.fuzzing.damage import damage_bytes, pick
from tests.drivers.fuzzing.format import Format, Silent, Step
from tests.drivers.fuzzing.volumes import (
    ODD_NUMBERS,
    SHAPE,
    mask,
    name_subject,
    read_everywhere,
    whole_case,
)
from tests.drivers.toys import write_nifti

UNITS = {1: 1000.0, 3: 0.001}
"""NIfTI's codes of metres and micrometres, in millimetres."""


def _make(place: Path) -> None:
    whole_case(place)
    rng = np.random.default_rng(1)
    image = rng.normal(100, 20, SHAPE).round()
    for name, kind in (("f4", np.float32), ("i2", np.int16), ("u1", np.uint8), ("f8", np.float64)):
        for ending in ("nii", "nii.gz"):
            write_nifti(place / "kinds" / f"{name}.{ending}", image.astype(kind), (2, 1, 1))
    write_nifti(place / "kinds" / "four.nii.gz", np.stack([image, image], -1).astype(np.float32))


def _damage(place: Path, rng: Generator) -> str:
    kind = pick(rng, sorted((place / "kinds").iterdir()))
    ending = kind.name.partition(".")[2]
    part = "labelsTr" if rng.random() < 0.25 else "imagesTr"
    path = name_subject(place, place / "data" / part / f"bad.{ending}")
    other = "imagesTr" if part == "labelsTr" else "labelsTr"
    write_nifti(place / "data" / other / "bad.nii.gz", mask(), (2, 1, 1))
    if part == "labelsTr":
        write_nifti(path, mask().astype("u1" if kind.name.startswith("u1") else "f4"), (2, 1, 1))
    else:
        path.write_bytes(kind.read_bytes())
    how = pick(rng, ("header", "header", "header", "bytes", "inside", "voxels", "shape"))
    if how == "bytes":
        return f"{kind.name}: {damage_bytes(path, rng)}"
    if how in ("voxels", "shape"):
        return f"{kind.name}: {_odd_array(path, rng, how == 'shape')}"
    raw = path.read_bytes()
    plain = path.with_name("plain")
    plain.write_bytes(gzip.decompress(raw) if ending == "nii.gz" else raw)
    words = _odd_header(plain, rng) if how == "header" else damage_bytes(plain, rng)
    if plain.is_file():
        raw = plain.read_bytes()
        path.write_bytes(gzip.compress(raw) if ending == "nii.gz" else raw)
        plain.unlink()
    return f"{kind.name}: {words}"


def _odd_header(path: Path, rng: Generator) -> str:
    """One or two fields of the header, overwritten as its layout says."""
    raw = bytearray(path.read_bytes())
    header = np.frombuffer(raw, nibabel.nifti1.header_dtype, 1)
    names = ("dim", "dim", "pixdim", "datatype", "bitpix", "vox_offset", "scl_slope", "scl_inter",
             "xyzt_units", "qform_code", "sform_code", "quatern_b", "qoffset_x", "srow_x", "srow_y",
             "sizeof_hdr", "magic", "intent_code", "slice_code", "cal_max", "dim_info")  # fmt: skip
    words = []
    for _ in range(int(rng.integers(1, 3))):
        name = pick(rng, names)
        field = header[name].reshape(-1)
        at = int(rng.integers(field.size))
        if field.dtype.kind == "S":
            field[at] = pick(rng, (b"ni1", b"n+2", b"", b"\xff\xfe"))
        else:
            odd = pick(rng, ODD_NUMBERS)
            with np.errstate(all="ignore"):
                field[at] = np.nan_to_num(np.float64(odd)).astype(np.int64).astype(field.dtype) if (
                    field.dtype.kind in "iu") else odd  # fmt: skip
        words.append(f"{name}[{at}] = {field[at]}")
    path.write_bytes(raw)
    return ", ".join(words)


def _odd_array(path: Path, rng: Generator, shape: bool) -> str:
    """Voxels that are all alike, not finite or very large; or a shape that is no usual volume."""
    image = nibabel.load(path)
    array = np.array(image.dataobj)
    if shape:
        wanted = pick(rng, ((1, 1, 1), (1, 9, 8), (10, 1, 8), (5,), (5, 4), (4, 4, 4, 1, 1), (2, 3,
                            4, 2), (4, 4, 4, 1, 3), (2, 1, 1, 1, 1, 2), (200, 1, 1), (3, 3,
                            0)))  # fmt: skip
        array, words = np.resize(array, wanted), f"shape {wanted}"
    else:
        words = pick(rng, ("constant", "nan", "inf", "one nan", "huge", "negative", "half"))
        if words in ("nan", "inf", "one nan", "half"):
            array = array.astype(np.float32)
        if words == "constant":
            array[...] = 7
        elif words == "one nan":
            array.flat[5] = np.nan
        elif words == "huge":
            array = (
                (array.astype(np.float64) * 1e300 + 1e300) if array.dtype.kind == "f" else array * 0
            )
        elif words == "negative":
            array = (-array.astype(np.float32) - 5).astype(np.float32)
        elif words == "half":
            array = array + 0.5
        else:
            array[...] = np.float32(words)
    nibabel.save(nibabel.Nifti1Image(array, image.affine), path)
    return words


def _exercise(place: Path, _: Path) -> Iterable[Step]:
    return read_everywhere(place, _compare)


def _compare(path: Path, volume: Any) -> None:
    """Voxels and grid against nibabel's."""
    try:
        image = nibabel.load(path)
        with np.errstate(all="ignore"):
            theirs = np.asarray(image.dataobj, np.float64)
    except Exception:
        return  # where nibabel fails, it cannot tell
    if theirs.size != volume.array.size:
        raise Silent(f"shape {volume.array.shape}, nibabel {theirs.shape}")
    theirs = np.moveaxis(theirs.reshape(*volume.geometry.shape, -1), -1, 0)
    with np.errstate(all="ignore"):
        theirs = theirs.astype(np.float32)
        if not np.allclose(theirs, volume.array, rtol=1e-4, atol=1e-3, equal_nan=True):
            raise Silent(f"mean {volume.array.mean():g}, nibabel {theirs.mean():g}")
    factor = UNITS.get(int(image.header["xyzt_units"]) & 7, 1.0)
    scale = np.diag([factor] * 3 + [1.0])
    if not np.allclose(scale @ image.affine, volume.geometry.affine, rtol=1e-3, atol=1e-4):
        raise Silent(f"affine {volume.geometry.affine.tolist()}, nibabel {image.affine.tolist()}")


FORMAT = Format("nifti", _make, _damage, _exercise)
