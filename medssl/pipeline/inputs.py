"""What a user names on the command line, as cases to predict.

A file is one case. A folder is one case too: a DICOM series, or one file per channel.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medssl.data.dicom.series import refuse_both_kinds
from medssl.errors import DataError, UsageError

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")


@dataclass(frozen=True)
class Input:
    """One case to predict: the name of its outputs, and its files in channel order."""

    id: str
    paths: tuple[Path, ...]


def find_inputs(files: Sequence[Path], channels: Sequence[str]) -> list[Input]:
    """The cases behind `files`, in the given order.

    Raises:
        DataError: a file is missing, of no known format, or a channel cannot be told.
        UsageError: two of them would write to the same output.
    """
    found = [_input(path, channels) for path in files]
    seen: dict[str, Input] = {}
    for one in found:
        if one.id in seen:
            raise UsageError(
                f"{one.paths[0]} and {seen[one.id].paths[0]} would both be written as '{one.id}'",
                "outputs are named after the file or folder",
                "name the case folders instead, or predict them into different folders",
            )
        seen[one.id] = one
    return found


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
        kind: what the files are, e.g. "slide".
        example: what would do, for the message.

    Raises:
        DataError: a file is missing, or none of them.
        UsageError: two of them would write to the same output.
    """
    found: dict[str, Path] = {}
    for given in files:
        if not given.exists():
            raise DataError(f"{given} does not exist", do="check the path")
        inside = sorted(path for path in given.iterdir() if fits(path)) if given.is_dir() else []
        for path in inside or [given]:
            if path.is_dir() or not fits(path):
                raise DataError(f"{path} is no {kind}", do=f"name {example}")
            name = name_of(path)
            if name in found:
                raise UsageError(
                    f"{path} and {found[name]} would both be written as '{name}'",
                    do="rename one of them, or predict them into different folders",
                )
            found[name] = path
    return found


def stem(path: Path) -> str:
    """File name without its image ending; `case.nii.gz` gives `case`."""
    for ending in ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    return path.name


def _input(path: Path, channels: Sequence[str]) -> Input:
    if path.is_dir():
        return Input(path.resolve().name, _folder(path, channels))
    if not path.exists():
        raise DataError(f"{path} does not exist", do="check the path")
    if stem(path) == path.name:
        raise DataError(
            f"{path} is of no known format",
            f"its name ends in none of {', '.join(ENDINGS)}",
            "convert it, or name the folder of its DICOM series",
        )
    return Input(stem(path), (path,))


def _folder(folder: Path, channels: Sequence[str]) -> tuple[Path, ...]:
    images = sorted(path for path in folder.iterdir() if stem(path) != path.name)
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
