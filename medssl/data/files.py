"""Image files by name: which files are images, and which belong together."""

from pathlib import Path

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
"""Of image files that hold volumes, in small letters; capitals count as these."""


def stem(path: Path) -> str:
    """File name without its image suffix; `case.nii.gz` gives `case`."""
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name


def is_image(path: Path) -> bool:
    """Whether the name is that of an image file; hidden files (`._case.nii.gz`) are none."""
    return not path.name.startswith(".") and stem(path) != path.name


def images_in(folder: Path) -> dict[str, Path]:
    """Image files directly in `folder` by their stem, sorted; empty without the folder."""
    if not folder.is_dir():
        return {}
    return {stem(path): path for path in sorted(folder.iterdir()) if is_image(path)}
