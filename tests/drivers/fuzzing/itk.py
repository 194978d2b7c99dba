"""NRRD and MetaImage, attached and detached: lines of the header, data files, bytes."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
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

KINDS = ("a.nrrd", "b.nhdr", "c.mha", "d.mhd", "e.nrrd")
OUTSIDE = -12345.0
"""Every voxel of a data file that lies outside of the header's folder."""

FILES = ("../../outside.raw", "OUTSIDE", "/etc/hostname", "LIST", "no.raw", "", "LOCAL", "x x", ".")
LINES = ('space units: "m" "m" "m"', "NDims = 5", "kinds: a b", "dimension: 9", "encoding: hex",
         "type: block", "x", "endian: big", "spacings: 1 1 nan",
         "ElementType = MET_CHAR")  # fmt: skip


def _make(place: Path) -> None:
    whole_case(place)
    rng = np.random.default_rng(1)
    image = SimpleITK.GetImageFromArray(rng.normal(100, 20, SHAPE[::-1]).round().astype("f4"))
    image.SetSpacing((2.0, 1.0, 1.0))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))  # as nibabel's diagonal
    short = SimpleITK.Cast(image, SimpleITK.sitkInt16)
    for name in KINDS:
        folder = place / "kinds" / name[0]
        folder.mkdir(parents=True)
        SimpleITK.WriteImage(short if name[0] == "e" else image, str(folder / name), name[0] == "e")
    np.full(SHAPE, OUTSIDE, np.float32).tofile(place / "outside.raw")


def _damage(place: Path, rng: Generator) -> str:
    name, folder = pick(rng, KINDS), place / "data" / "imagesTr"
    for part in (place / "kinds" / name[0]).iterdir():
        part.rename(folder / part.name)
    path = folder / f"bad{Path(name).suffix}"
    name_subject(place, (folder / name).rename(path))
    write_nifti(place / "data" / "labelsTr" / "bad.nii.gz", mask(), (2, 1, 1))
    if rng.random() < 0.3:
        return damage_bytes(pick(rng, [path, *sorted(folder.glob("*raw*"))]), rng)
    return _odd_line(path, rng)


def _odd_line(path: Path, rng: Generator) -> str:
    """One line of the text at the head of the file, changed."""
    raw = path.read_bytes()
    detached = path.suffix in (".nhdr", ".mhd")
    end = raw.find(b"\n\n") if path.suffix == ".nrrd" else raw.find(b"LOCAL") + len(b"LOCAL")
    stop = len(raw) if detached else end
    lines = raw[:stop].decode("latin-1").split("\n")
    at = int(rng.integers(len(lines)))
    before = lines[at]
    key, mark, _ = re.split(r"([:=])", f"{before}=", maxsplit=1)
    numbers = list(re.finditer(r"-?[\d.]+", before.partition(mark)[2]))
    if "file" in key.lower():
        named = pick(rng, FILES).replace("OUTSIDE", str(path.parents[2] / "outside.raw"))
        lines[at] = f"{key}{mark} {named}"
    elif numbers and rng.random() < 0.8:
        spot, offset = pick(rng, numbers), len(key) + len(mark)
        odd = pick(rng, [*map(str, ODD_NUMBERS), "x", "(1,0,0)", "none", "-"])
        lines[at] = before[: offset + spot.start()] + odd + before[offset + spot.end() :]
    elif rng.random() < 0.5:
        del lines[at]
    else:
        lines.insert(at, pick(rng, LINES))
    path.write_bytes("\n".join(lines).encode("latin-1") + raw[stop:])
    return f"{path.name}: {before!r} -> {lines[at] if at < len(lines) else ''!r:.80}"


def _exercise(place: Path, _: Path) -> Iterable[Step]:
    return read_everywhere(place, _compare)


def _compare(path: Path, volume: Any) -> None:
    """Nothing outside of the header's own folder may be read."""
    if (volume.array == OUTSIDE).any():
        raise Silent("a file outside of the header's folder was read")


FORMAT = Format("itk", _make, _damage, _exercise)
