"""Image files by name: which files are images, and which belong together; for every verb alike."""

from pathlib import Path

from medssl.errors import DataError, UsageError
from medssl.names import composed, shown

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".png.zip")
"""Of image files that hold volumes, in small letters; capitals count as these."""

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
"""Of pictures, which are 2-D, in small letters."""

DICOM = (".dcm", ".dicom", ".dic")
"""Of single DICOM files; a series is a folder of such."""

STACKS = (".tif", ".tiff", *DICOM)
"""Of pictures that may have several frames; of any other kind, a file is one picture."""


def stem(path: Path) -> str:
    """File name without its image suffix, and composed; `case.nii.gz` gives `case`."""
    for suffix in (*SUFFIXES, *PICTURES, *DICOM):
        if path.name.lower().endswith(suffix):
            return composed(path.name[: -len(suffix)])
    return composed(path.name)


def is_hidden(path: Path) -> bool:
    """Whether the name is that of a hidden file, as `._case.nii.gz` and `.DS_Store` of macOS."""
    return path.name.startswith(".")


def is_image(path: Path) -> bool:
    """Whether the name is that of a file of a volume; hidden files are none."""
    return not is_hidden(path) and path.name.lower().endswith(SUFFIXES)


def is_picture(path: Path) -> bool:
    """Whether the name is that of a picture or of a single DICOM file."""
    return path.name.lower().endswith((*PICTURES, *DICOM))


def leads_back(folder: Path) -> bool:
    """Whether a folder is a link to one that it lies in, into which one would walk for ever."""
    if not folder.is_symlink():
        return False
    target = folder.resolve()
    return any(above.resolve() == target for above in folder.absolute().parents)


def visible(folder: Path) -> list[Path]:
    """What lies directly in `folder`, sorted, hidden files left out; empty without the folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not is_hidden(path))


def matching(root: Path, pattern: str) -> list[Path]:
    """What fits a pattern below `root`, sorted; hidden files and folders are passed over.

    Raises:
        UsageError: the pattern is empty or absolute, or `**` stands beside other characters.
    """
    try:
        found = sorted(root.glob(pattern))
    except (ValueError, IndexError, NotImplementedError) as error:
        raise UsageError(
            f"the pattern {shown(pattern)} of the layout cannot be used",
            str(error),
            "a pattern starts in the data set's folder, for example */scan.nii.gz",
        ) from None
    return [path for path in found if not _lies_hidden(path.relative_to(root))]


def _lies_hidden(path: Path) -> bool:
    return any(part.startswith(".") and part != ".." for part in path.parts)


def images_in(folder: Path) -> dict[str, Path]:
    """Volumes directly in `folder` by their stem, sorted; without any, pictures.

    Single DICOM files are not among them, as they may be the slices of a series. Empty without the
    folder.

    Raises:
        DataError: two of them have one stem, e.g. `case.nii` and `case.nii.gz`.
    """
    files = visible(folder)
    pictures = [one for one in files if one.name.lower().endswith(PICTURES)]
    found: dict[str, Path] = {}
    for path in [one for one in files if is_image(one)] or pictures:
        if stem(path) in found:
            raise DataError(
                f"{found[stem(path)]} and {path.name} beside it are one image by their names",
                "which of them is meant is not said",
                "keep one of them",
            )
        found[stem(path)] = path
    return found
