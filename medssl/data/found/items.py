"""The images below a folder: files of volumes, DICOM series, or pictures."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medssl.data.dicom.series import refuse_both_kinds
from medssl.data.dicom.slices import first_slice_in
from medssl.data.files import PICTURES, is_image, leads_back, stem
from medssl.errors import DataError
from medssl.names import composed


@dataclass(frozen=True)
class Item:
    """One image or mask.

    Attributes:
        path: where it is.
        parts: names of the folders on the way to it, from the data set's folder.
        name: without the ending.
        ending: with its dot; "/" of a DICOM series, which is a folder.
    """

    path: Path
    parts: tuple[str, ...]
    name: str
    ending: str

    @property
    def plain(self) -> str:
        """The way to it from the data set's folder, without the ending."""
        return "/".join((*self.parts, self.name))

    @property
    def shown(self) -> str:
        """The name with its ending, for messages."""
        return self.plain + self.ending


def items_below(root: Path, start: Path | None = None) -> list[Item]:
    """All volumes and series below `start`, by path; where there are none, all pictures.

    Pictures beside the slices of a series are none of the images.

    Args:
        root: the data set's folder, from which paths are told.
        start: a folder within or beside it; None: the data set's folder.

    Raises:
        DataError: there is no such folder, or one cannot be read, or holds both slices of a
            series and a volume of another format.
    """
    top = root if start is None else start
    if not top.is_dir():
        what = "is a file" if top.exists() else "does not exist"
        raise DataError(f"the folder {top} {what}", do="name the folder that holds the scans")
    found = list(_walk(root, top))
    volumes = [one for one in found if one.ending.lower() not in PICTURES]
    return volumes or found


def _walk(root: Path, folder: Path) -> Iterator[Item]:
    try:
        entries = sorted(one for one in folder.iterdir() if not one.name.startswith("."))
    except OSError as error:
        raise DataError(
            f"the folder {folder} cannot be read",
            (error.strerror or str(error)).lower(),
            "check who may read it",
        ) from None
    files = [one for one in entries if one.is_file()]
    images = [one for one in files if is_image(one)]
    if images:
        refuse_both_kinds(folder)
    series = bool(files) and not images and first_slice_in(folder) is not None
    pictures = [one for one in files if one.suffix.lower() in PICTURES and not series]
    parts = _parts(root, folder)
    for path in images or pictures:
        name = stem(path) if images else composed(path.stem)
        yield Item(path, parts, name, composed(path.name)[len(name) :])
    if parts and series:
        yield Item(folder, parts[:-1], parts[-1], "/")
    for inner in entries:
        if inner.is_dir() and not leads_back(inner):
            yield from _walk(root, inner)


def _parts(root: Path, folder: Path) -> tuple[str, ...]:
    """The way from one folder to another, also where that leads up first."""
    way = os.path.relpath(folder.absolute(), root.absolute())
    return tuple(map(composed, Path(way).parts))
