"""What a user names on the command line, as cases to predict.

A file is one case. A folder is one case too where it holds a DICOM series, or one file per channel.
A folder of scans is a case for each, named after the file, or after what stands before the names of
the channels; a folder of folders is a case for each of them, named after the way to it. DICOM files
are told apart by their content: those of one study are one case, wherever in the folder they lie.
Its name is study_KEY, that of a picture in DICOM image_KEY: folders and files of DICOM are often
named after patients. What is a mask by its name, or is called after a label of the model, is passed
over beside scans that are none.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from medssl.data.dicom.slices import is_dicom
from medssl.data.dicom.study import (
    Progress,
    StudyFiles,
    image_name,
    names_of,
    series_name,
    strays,
    studies_in,
)
from medssl.data.files import (
    DICOM,
    PICTURES,
    SUFFIXES,
    is_hidden,
    is_image,
    is_picture,
    stem,
    visible,
)
from medssl.data.picture.dicom import holds_pictures
from medssl.errors import DataError, UsageError
from medssl.names import alike, shown, unfit
from medssl.pipeline.case_folders import Look, cases_below

Input = tuple[Path, ...] | StudyFiles
"""Files in channel order, or the DICOM files of a study, from which series are to be chosen."""

Case = tuple[str, Input]
"""Name of the outputs, and what they are made from."""


def find_inputs(
    files: Sequence[Path],
    channels: Sequence[str],
    note: Callable[[str], None] = lambda _: None,
    keep_ids: bool = False,
    labels: Sequence[str] = (),
    on_progress: Progress | None = None,
) -> dict[str, Input]:
    """The cases behind `files`, in the given order, by the output's name.

    Args:
        labels: names that masks of single structures may have.
        note: is told what is passed over, in a sentence for each reason.
        keep_ids: name what is DICOM after its files and folders too.
        on_progress: as of `studies_in`, for each folder.

    Raises:
        DataError: a file is missing, of no known format, or a channel cannot be told; or it has a
            name that outputs cannot have.
        UsageError: two of them would write to the same output.
    """
    look = Look(channels, tuple(labels))
    cases = [case for path in files for case in _cases(path, look, keep_ids, on_progress)]
    look.refuse_unclear()
    for passed_over in look.told():
        note(passed_over)
    found = [(_named(name, given, keep_ids), given) for name, given in cases]
    _must_be_apart([(name, paths_of(given)[0]) for name, given in found])
    return dict(found)


def paths_of(given: Input) -> tuple[Path, ...]:
    """All files, or folders of series, of a case."""
    return given.files if isinstance(given, StudyFiles) else given


def _named(name: str, given: Input, keep_ids: bool) -> str:
    """The name of a case: as it was found, or of DICOM one that says nothing of a patient."""
    if isinstance(given, StudyFiles):
        return _fitting(name, given.folder)
    if keep_ids or not (given[0].is_dir() or is_dicom(given[0])):
        return _fitting(name, given[0])
    return series_name(given[0]) if given[0].is_dir() else image_name(given[0])


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
        "rename one of them, or predict them into different folders"
        + ("; in a case's folder keep its scan alone" if path.name == other.name else ""),
    )


def _must_exist(path: Path) -> None:
    try:
        there = path.exists()
    except (OSError, ValueError):  # a name that no file can have
        there = False
    if there and not (path.is_file() or path.is_dir()):
        raise DataError(f"{path} is neither a file nor a folder", do="copy its content to a file")
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


def _cases(path: Path, look: Look, keep_ids: bool, on_progress: Progress | None) -> list[Case]:
    _must_exist(path)
    if path.is_dir() and (pictures := holds_pictures(path)):
        return [(stem(one), (one,)) for one in pictures]
    if path.is_dir():
        below = cases_below(path, path.resolve().name, look)
        found = [*below, *_studies(path, look, keep_ids, on_progress)]
        if not found and not any(one.is_file() for one in visible(path)):
            raise DataError(
                f"{path} holds no image",
                "looked for NIfTI, NRRD, MetaImage, DICOM, PNG, JPEG and TIFF files in it and "
                "below",
                "name the folder that holds the scans",
            )
        return found or [(path.resolve().name, (path,))]  # the reader says why
    if is_hidden(path):
        raise DataError(f"{path} is a hidden file", "", "name the image that it belongs to")
    if not is_image(path) and not is_picture(path):
        raise DataError(
            f"{path} is of no known format",
            f"its name ends in none of {', '.join((*SUFFIXES, *PICTURES, *DICOM))}",
            "convert it, or name the folder of its DICOM series",
        )
    return [(stem(path), (path,))]


def _studies(
    folder: Path, look: Look, keep_ids: bool, on_progress: Progress | None
) -> Iterator[Case]:
    """A case for each study in a folder and all below it."""
    found = studies_in(folder, on_progress)
    look.strays.extend(strays(folder, found))
    if len(found) == len(look.channels) == 1 and _is_one_series(found[0], folder):
        yield folder.resolve().name, (folder,)  # its owner has chosen it
        return
    yield from zip(names_of(found, folder, lone=True, keep_ids=keep_ids), found, strict=True)


def _is_one_series(study: StudyFiles, folder: Path) -> bool:
    return study.series == 1 and all(file.parent == folder for file in study.files)
