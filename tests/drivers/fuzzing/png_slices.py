"""PNG of slices in a zip file: its bytes, its members, the grid and the pictures in it."""

import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from imagecodecs import PngError, png_decode
from numpy.random import Generator

from medssl.data.geometry import Geometry
from medssl.data.volume import write_mask
from tests.drivers.fuzzing.damage import damage_bytes, damage_json, pick
from tests.drivers.fuzzing.format import Format, Silent, Step
from tests.drivers.fuzzing.volumes import SHAPE, mask, name_subject, read_everywhere, whole_case
from tests.drivers.toys import write_nifti


def _make(place: Path) -> None:
    whole_case(place)
    values = np.random.default_rng(1).integers(0, 255, SHAPE).astype(np.uint8)
    grid = Geometry(SHAPE, np.diag([2.0, 1.0, 1.0, 1.0]))
    name_subject(place, place / "data" / "imagesTr" / "bad.png.zip")
    write_mask(values, grid, place / "data" / "imagesTr" / "bad.png.zip")
    write_nifti(place / "data" / "labelsTr" / "bad.nii.gz", mask(), (2, 1, 1))


def _damage(place: Path, rng: Generator) -> str:
    path = place / "data" / "imagesTr" / "bad.png.zip"
    if rng.random() < 0.3:
        return damage_bytes(path, rng)
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    name, other = pick(rng, list(members)), pick(rng, list(members))
    if rng.random() < 0.5:
        name = "grid.json"
    inner = place / name
    inner.write_bytes(members.pop(name))
    told = damage_json(inner, rng) if name == "grid.json" else damage_bytes(inner, rng)
    if rng.random() < 0.2:
        told, name = f"{told}, named {other}", other
    if inner.is_file():
        members[name] = inner.read_bytes()
        inner.unlink()
    packing = pick(rng, [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
    with zipfile.ZipFile(path, "w", packing) as file:
        for one, content in members.items():
            file.writestr(one, content)
    return f"{name}: {told}"


def _exercise(place: Path, _: Path) -> Iterable[Step]:
    return read_everywhere(place, _compare)


def _compare(path: Path, volume: Any) -> None:
    """Pictures and grid as others unpack them."""
    with zipfile.ZipFile(path) as file:
        said = json.loads(file.read("grid.json"))
        for index in range(volume.geometry.shape[2]):
            try:
                picture = png_decode(file.read(f"{index + 1:04d}.png"))
            except PngError:
                return  # of a checksum in the picture, which the zip file has its own of
            if not np.array_equal(volume.array[0, ..., index], picture.T):
                raise Silent(f"slice {index + 1} differs")
    if not np.array_equal(volume.geometry.affine, np.reshape(said["affine_to_ras_mm"], (4, 4))):
        raise Silent("another grid")


FORMAT = Format("png_slices", _make, _damage, _exercise)
