"""Masks of one structure each that together are the mask of a case: a small file names them.

The file ends in `.masks`. Its name has a digest of the values that the structures get, so that
equal names mean equal voxels wherever the files lie. The masks are joined where it is read.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medssl.atomic import write_text
from medssl.data.geometry import Geometry
from medssl.data.overlaps import Layers
from medssl.errors import DataError

ENDING = ".masks"

Read = Callable[[Path], tuple[np.ndarray, Geometry]]
"""Reads one mask: whole numbers [X, Y, Z] and their grid."""


@dataclass(frozen=True)
class Part:
    """The mask of one structure, and the value that it gets."""

    name: str
    value: int
    file: Path


def is_joined(path: Path) -> bool:
    """Whether a file names masks that are to be joined."""
    return path.suffix == ENDING


def write_joined(folder: Path, case: str, parts: Sequence[Part]) -> Path:
    """Keep which masks are the mask of a case, lowest first; returns the file that names them."""
    values = json.dumps([part.value for part in parts])
    digest = hashlib.sha256(values.encode()).hexdigest()[:8]
    plain = [[part.name, part.value, str(part.file.absolute())] for part in parts]
    text, path = json.dumps(plain), folder / f"{case}_{digest}{ENDING}"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path.with_name(f"{path.name}.key"), digest)
        write_text(path, text)
    return path


def parts_of(path: Path) -> list[Part]:
    """The masks that are to be joined, lowest first.

    Raises:
        DataError: the file is damaged.
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        return [Part(str(name), int(value), Path(file)) for name, value, file in plain]
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read", "it names masks", "delete it; it is made anew"
        ) from error


def joined_files(path: Path) -> list[Path]:
    """The digest of the values, and the masks."""
    return [path.with_name(f"{path.name}.key"), *(part.file for part in parts_of(path))]


def first_file(path: Path) -> Path:
    """A mask itself, or the first of those that it is joined of."""
    return parts_of(path)[0].file if is_joined(path) else path


def named_by(path: Path) -> str:
    """What messages call a mask."""
    others = len(parts_of(path)) - 1 if is_joined(path) else 0
    return f"{first_file(path)} (joined with {others} more)" if others else str(first_file(path))


def join(path: Path, read: Read) -> tuple[np.ndarray, Geometry, tuple[str, ...]]:
    """The joined mask, uint8 [X, Y, Z], its grid, and where structures overlap, in sentences.

    Raises:
        DataError: a mask cannot be read, marks several things, or lies on another grid.
    """
    first, *others = parts_of(path)
    marked, grid = _marked(first, read)
    layers = Layers(marked.shape)
    layers.lay(marked, first.name, first.value)
    for part in others:
        marked, other = _marked(part, read)
        if not other.matches(grid):
            raise DataError(
                f"{part.file} does not lie on the grid of {first.file}",
                other.difference(grid),
                "resample one to the other, or correct the header that is wrong",
            )
        layers.lay(marked, part.name, part.value)
    return layers.mask, grid, layers.remarks


def _marked(part: Part, read: Read) -> tuple[np.ndarray, Geometry]:
    """Where the mask of one structure is set, and its grid."""
    array, grid = read(part.file)
    values = [value for value in np.unique(array).tolist() if value]
    if len(values) > 1:
        raise DataError(
            f"{part.file} holds {len(values)} values beside 0",
            f"a file for each structure marks one thing, here {part.name}",
            "split it into a file for each, or give all structures in one file per scan",
        )
    return array != 0, grid
