"""What a user names on the command line, as cases to predict.

A file is one case. A folder is one case too: a DICOM series, or one file per channel.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from medssl.data.dicom.series import refuse_both_kinds
from medssl.data.files import SUFFIXES, images_in, is_hidden, is_image, stem, visible
from medssl.errors import DataError, UsageError
from medssl.names import alike, shown, unfit


def find_inputs(files: Sequence[Path], channels: Sequence[str]) -> dict[str, tuple[Path, ...]]:
    """The cases behind `files`, in the given order: files in channel order by the output's name.

    Raises:
        DataError: a file is missing, of no known format, or a channel cannot be told; or it has a
            name that outputs cannot have.
        UsageError: two of them would write to the same output.
    """
    found = [_input(path, channels) for path in files]
    _must_be_apart([(name, paths[0]) for name, paths in found])
    return dict(found)


def files_by_name(
    files: Sequence[Path],
    fits: Callable[[Path], bool],
    name_of: Callable[[Path], str],
    kind: str,
    example: str,
) -> dict[str, Path]:
    """Files by the name of their outputs; a folder stands for those in it that fit.

    Args:
        files: what the user named.
        fits: whether a name is that of such a file.
        name_of: the name of its outputs.
        kind: what the files are, e.g. "radiograph".
        example: what would do, for the message.

    Raises:
        DataError: a file is missing, or none of them; or it has a name that outputs cannot have.
        UsageError: two of them would write to the same output.
    """
    found: list[tuple[str, Path]] = []
    for given in files:
        _must_exist(given)
        for path in [one for one in visible(given) if fits(one)] or [given]:
            if path.is_dir() or not fits(path):
                raise DataError(f"{path} is no {kind}", do=f"name {example}")
            found.append((_fitting(name_of(path), path), path))
    _must_be_apart(found)
    return dict(found)


def _must_be_apart(named: Sequence[tuple[str, Path]]) -> None:
    """Outputs are named after inputs, on disks too that do not tell capitals apart."""
    paths: dict[str, Path] = {}
    for name, path in named:
        if name in paths:
            raise _clash(path, paths[name], name)
        paths[name] = path
    for one, other in alike(paths):
        raise _clash(paths[other], paths[one], one)


def _clash(path: Path, other: Path, name: str) -> UsageError:
    return UsageError(
        f"{path} and {other} would both be written as '{name}'",
        "outputs are named after the file or folder, and many disks do not tell capitals apart",
        "rename one of them, or predict them into different folders",
    )


def _must_exist(path: Path) -> None:
    try:
        there = path.exists()
    except (OSError, ValueError):  # a name that no file can have
        there = False
    if not there:
        name = shown(str(path), 200)[1:-1]
        is_key = re.match(r"[a-z_.]+=", name)
        do = f"if it is a key of `predict`, give it as --set {name}" if is_key else "check the path"
        raise DataError(f"{name} does not exist", do=do)


def _fitting(name: str, path: Path) -> str:
    if reason := unfit(name):
        raise DataError(
            f"the outputs of {shown(str(path), 200)} cannot be named after it",
            reason,
            "rename the file or folder",
        )
    return name


def _input(path: Path, channels: Sequence[str]) -> tuple[str, tuple[Path, ...]]:
    _must_exist(path)
    if path.is_dir():
        return _fitting(path.resolve().name, path), _folder(path, channels)
    if is_hidden(path):
        raise DataError(f"{path} is a hidden file", "", "name the image that it belongs to")
    if not is_image(path):
        raise DataError(
            f"{path} is of no known format",
            f"its name ends in none of {', '.join(SUFFIXES)}",
            "convert it, or name the folder of its DICOM series",
        )
    return _fitting(stem(path), path), (path,)


def _folder(folder: Path, channels: Sequence[str]) -> tuple[Path, ...]:
    images = list(images_in(folder).values())
    if not images:
        return (folder,)  # a DICOM series; the reader says so if it is none
    refuse_both_kinds(folder)
    if len(images) == len(channels) == 1:
        return (images[0],)
    chosen = []
    for index, channel in enumerate(channels):
        ends = (channel.lower(), f"_{index:04d}")
        fitting = [path for path in images if stem(path).lower().endswith(ends)]
        if len(fitting) != 1:
            raise DataError(
                f"{folder} does not tell which file is the channel '{channel}'",
                f"{len(fitting)} of its {len(images)} images end in '{channel}' or '_{index:04d}'",
                f"keep one image per channel, named e.g. {channel}.nii.gz",
            )
        chosen.append(fitting[0])
    return tuple(chosen)
