"""Whatever bytes an image file has: a volume, or one sentence, soon and with little memory."""

import gzip
import random
import tracemalloc
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from medssl.data.geometry import Geometry
from medssl.data.volume import Volume, read_geometry, read_mask, read_volume
from medssl.errors import DataError

VALUES = np.arange(210, dtype=np.int16).reshape(5, 6, 7)
ROUNDS = 60
MEMORY = 50e6  # bytes; the files have less than a thousand

JUNK = (
    *(b"", b"-1", b"0", b"99999999999", b"nan", b"1e400", b"inf", b"abc", b"\xff\xfe", b"2 2"),
    *(b"(1,2,3)", b"none", b"LIST", b"/etc/passwd", b"../x", b"True", b"False", b'"cm"'),
)
"""Values for a line of a header."""

NUMBERS = (np.nan, np.inf, -1.0, 0.0, 1e30, -1e30, 1e-40)
"""Values for four bytes of a header."""


def nifti(kind: type, order: str, packed: bool) -> bytes:
    image = kind(VALUES, np.diag([2, 1.5, 2.5, 1]), kind.header_class(endianness=order))
    return gzip.compress(image.to_bytes()) if packed else image.to_bytes()


def by_itk(folder: Path, suffix: str, packed: bool) -> bytes:
    path = folder / f"whole{suffix}"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(VALUES), str(path), packed)
    return path.read_bytes()


def header_of(content: bytes) -> int:
    """Bytes of the header."""
    if content.startswith(b"NRRD"):
        return content.index(b"\n\n") + 2
    if content.startswith(b"ObjectType"):
        return content.index(b"LOCAL\n") + 6
    return min(540, len(content))


def mutated(whole: bytes, chance: random.Random) -> bytes:
    """`whole` with a bit flipped, bytes replaced, its end cut off, or a value made junk."""
    content, header = bytearray(whole), header_of(whole)
    at, how = chance.randrange(header), chance.randrange(6)
    if how == 0:
        content[at] ^= 1 << chance.randrange(8)
    elif how == 1:
        content[at : at + chance.randrange(1, 9)] = chance.randbytes(chance.randrange(1, 9))
    elif how == 2:
        del content[chance.randrange(len(content)) :]
    elif how == 3:
        content[at : at + 4] = chance.choice((b"\xff", b"\0", b"\x7f")) * 4
    elif how == 4:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    elif whole[:1] in b"NO":
        lines = bytes(content[:header]).split(b"\n")
        line = chance.randrange(len(lines) - 1)
        mark = b":" if b":" in lines[line] else b"="
        lines[line] = lines[line].partition(mark)[0] + mark + b" " + chance.choice(JUNK)
        content[:header] = b"\n".join(lines)
    else:
        at -= at % 2
        content[at : at + 4] = np.float32(chance.choice(NUMBERS)).tobytes()
    return bytes(content)


FILES = {
    "little.nii": lambda _: nifti(nibabel.Nifti1Image, "<", False),
    "big.nii": lambda _: nifti(nibabel.Nifti1Image, ">", False),
    "second.nii": lambda _: nifti(nibabel.Nifti2Image, "<", False),
    "packed.nii.gz": lambda _: nifti(nibabel.Nifti1Image, "<", True),
    "within.nii.gz": lambda _: nifti(nibabel.Nifti1Image, "<", False),  # packed when mutated
    "plain.nrrd": lambda folder: by_itk(folder, ".nrrd", False),
    "packed.nrrd": lambda folder: by_itk(folder, ".nrrd", True),
    "plain.mha": lambda folder: by_itk(folder, ".mha", False),
    "packed.mha": lambda folder: by_itk(folder, ".mha", True),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.filterwarnings("error")
def test_a_mutated_file_is_a_volume_or_a_sentence(tmp_path, capfd, name):
    whole, path, chance = FILES[name](tmp_path), tmp_path / name, random.Random(name)
    read_well, sentences = 0, []
    tracemalloc.start()
    for _ in range(ROUNDS):
        content = mutated(whole, chance)
        path.write_bytes(gzip.compress(content) if name == "within.nii.gz" else content)
        for read in (read_geometry, read_volume, read_mask):
            try:
                read_well += isinstance(read(path), Volume | Geometry)
            except DataError as error:
                sentences.append(str(error))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MEMORY
    assert capfd.readouterr() == ("", "")
    assert read_well + len(sentences) == 3 * ROUNDS
    assert len(sentences) > ROUNDS / 2  # the mutations do hit
    assert "\n" not in "".join(sentences)
