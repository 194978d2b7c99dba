"""A MONAI datalist: JSON with lists `training`, `validation` and `test` or `testing`.

An entry is {"image": path or list of paths, "label": path}, optionally with "id", "patient"
and "session". A label may also be a list of one path.
Validation entries are training cases here: validation is taken from the labelled budget.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr

from medssl.data.files import stem
from medssl.data.layout import Layout
from medssl.data.listing import parsed, read_listing, section
from medssl.data.spec import Case, DataSpec
from medssl.errors import DataError

_SECTIONS = {"training": None, "validation": None, "test": "test", "testing": "test"}


class Options(BaseModel):
    """Keys of this layout."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(default="datalist.json", description="the list, in the data set's folder")


def _paths(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


def _one_path(given: Any) -> Any:
    if given is None or given in ("", []):
        return None
    found = given[0] if isinstance(given, list) and len(given) == 1 else given
    if isinstance(found, str):
        return found
    if isinstance(found, int | float):
        raise ValueError("a number is a class of the whole image, which is not learnt from a list")
    raise ValueError("only one mask file can be read")


Text = Annotated[str, Field(strict=True, min_length=1)]


class Entry(BaseModel):
    """One case; other keys, such as `fold`, are not used."""

    image: Annotated[list[Text], BeforeValidator(_paths)] = Field(min_length=1)
    label: Annotated[Text | None, BeforeValidator(_one_path)] = None
    id: StrictStr | StrictInt | None = None
    patient: StrictStr | StrictInt | None = None
    session: StrictStr | StrictInt | None = None


def cases(spec: DataSpec, root: Path) -> list[Case]:
    """Cases in the order of the list; test entries without a label are left out."""
    path = root / spec.layout.options(Options).file
    plain = read_listing(path)
    entries: list[tuple[Entry, str | None]] = []
    for key, part in _SECTIONS.items():
        for number, entry in enumerate(section(plain, key, path), start=1):
            if part is not None and _unlabelled(entry):
                continue
            where = f"entry {number} of `{key}` of {path}"
            do = 'write {"image": "NAME.nii.gz", "label": "NAME_mask.nii.gz"}'
            entries.append((parsed(Entry, entry, where, do), part))
    named = _file_names_differ([entry for entry, _ in entries])
    return [_case(spec, root, path, entry, part, named) for entry, part in entries]


def _case(
    spec: DataSpec, root: Path, path: Path, entry: Entry, part: str | None, named: bool
) -> Case:
    files = entry.image
    if len(files) not in (1, len(spec.channels)):
        raise DataError(
            f"{path} lists {len(files)} images for {files[0]}",
            f"the data set {spec.name} declares {len(spec.channels)} channels",
            "list one file per channel, or one file that holds them all",
        )
    if len(files) == 1:
        files = files * len(spec.channels)
    name = _stated(entry.id) or _name(Path(files[0]), named)
    return Case(
        id=name,
        patient=_stated(entry.patient) or spec.patient_of(name),
        images={channel: root / file for channel, file in zip(spec.channels, files, strict=True)},
        label=None if entry.label is None else root / entry.label,
        session=_stated(entry.session) or spec.session_of(name),
        part=part,
    )


def _unlabelled(entry: Any) -> bool:
    return isinstance(entry, str) or (isinstance(entry, dict) and not entry.get("label"))


def _stated(given: str | int | None) -> str:
    return "" if given is None else str(given)


def _file_names_differ(entries: Sequence[Entry]) -> bool:
    """Whether file names tell the cases apart; in CASE/image.nii.gz they do not."""
    names = [stem(Path(entry.image[0])) for entry in entries]
    return len(set(names)) == len(names)


def _name(path: Path, named: bool) -> str:
    return stem(path) if named else "_".join((*path.parent.parts, stem(path))).lstrip("._/")


LAYOUT = Layout(Options, cases)
