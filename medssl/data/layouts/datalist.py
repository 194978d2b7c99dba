"""A MONAI datalist: JSON with lists `training`, `validation` and `test` or `testing`.

An entry is {"image": path or list of paths, "label": path}, optionally with "id", "patient"
and "session".
Validation entries are training cases here: validation is taken from the labelled budget.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from medssl.data.files import stem
from medssl.data.layouts.decathlon import read_listing
from medssl.data.spec import Case, DataSpec
from medssl.errors import DataError

_SECTIONS = {"training": None, "validation": None, "test": "test", "testing": "test"}


class Options(BaseModel):
    """Keys of this layout."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = "datalist.json"


def cases(spec: DataSpec, root: Path) -> list[Case]:
    """Cases in the order of the list; test entries without a label are left out."""
    path = root / spec.layout.options(Options).file
    plain = read_listing(path)
    entries: list[tuple[Any, str | None]] = []
    for section, part in _SECTIONS.items():
        entries += [
            (entry, part)
            for entry in plain.get(section, [])
            if part is None or (isinstance(entry, dict) and entry.get("label"))
        ]
    named = _file_names_differ([entry for entry, _ in entries])
    return [_case(spec, root, path, entry, part, named) for entry, part in entries]


def _case(
    spec: DataSpec, root: Path, path: Path, entry: Any, part: str | None, named: bool
) -> Case:
    files = _images(entry)
    if not files:
        raise DataError(f"{path} has an entry without an image", f"it is {entry!r}")
    if len(files) not in (1, len(spec.channels)):
        raise DataError(
            f"{path} lists {len(files)} images for {files[0]}",
            f"the data set {spec.name} declares {len(spec.channels)} channels",
            "list one file per channel, or one file that holds them all",
        )
    if len(files) == 1:
        files *= len(spec.channels)
    name = str(entry.get("id") or _name(Path(files[0]), named))
    return Case(
        id=name,
        patient=str(entry.get("patient") or spec.patient_of(name)),
        images={channel: root / file for channel, file in zip(spec.channels, files, strict=True)},
        label=root / entry["label"] if entry.get("label") else None,
        session=str(entry.get("session") or spec.session_of(name)),
        part=part,
    )


def _images(entry: Any) -> list[str]:
    image = entry.get("image") if isinstance(entry, dict) else None
    return [image] if isinstance(image, str) else list(image or [])


def _file_names_differ(entries: Sequence[Any]) -> bool:
    """Whether file names tell the cases apart; in CASE/image.nii.gz they do not."""
    names = [stem(Path(files[0])) for files in map(_images, entries) if files]
    return len(set(names)) == len(names)


def _name(path: Path, named: bool) -> str:
    return stem(path) if named else "_".join((*path.parent.parts, stem(path))).lstrip("._/")
