"""Medical Segmentation Decathlon: dataset.json, imagesTr, labelsTr, imagesTs.

Without dataset.json, images and labels are paired by file name. Several channels lie in one 4-D
file. Test images are used only where they have labels, which the official ones have not.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medssl.data.files import images_in, stem, visible
from medssl.data.layout import Layout
from medssl.data.listing import parsed, read_listing, section
from medssl.data.spec import Case, DataSpec
from medssl.errors import DataError


class Options(BaseModel):
    """Keys of this layout: the folders that are paired where there is no dataset.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: str = Field(default="imagesTr", description="folder of the images")
    labels: str = Field(default="labelsTr", description="folder of the masks")


class Entry(BaseModel):
    """One case: {"image": path, "label": path}, or the image's path alone."""

    image: str = Field(strict=True, min_length=1)
    label: str | None = Field(default=None, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, given: Any) -> Any:
        return {"image": given} if isinstance(given, str) else given


def cases(spec: DataSpec, root: Path) -> list[Case]:
    """Cases in the order of dataset.json, else of file names.

    Raises:
        DataError: dataset.json is damaged, or it is that of an nnU-Net folder.
    """
    listing = root / "dataset.json"
    if not listing.is_file():
        return _paired(spec, root)
    plain = read_listing(listing)
    if is_numbered(root, plain):
        raise DataError(
            f"{root} is a folder of nnU-Net",
            "each channel of an image is a file of its own, with a number in its name",
            "write `layout: {kind: nnunet}` in the data spec",
        )
    entries = [(entry, None) for entry in _entries(plain, "training", listing)]
    tests = [(entry, "test") for entry in _entries(plain, "test", listing) if entry.label]
    return [_listed(spec, root, entry, part) for entry, part in (*entries, *tests)]


def is_numbered(root: Path, plain: Mapping[str, Any]) -> bool:
    """Whether images are listed without the channel's number that their files have (nnU-Net v1).

    Raises:
        DataError: the list of training cases is damaged.
    """
    names = [Path(entry.image) for entry in _entries(plain, "training", root / "dataset.json")]
    files = {
        stem(path) for folder in {name.parent for name in names} for path in visible(root / folder)
    }
    listed = {stem(name) for name in names}
    return not listed & files and bool({f"{name}_0000" for name in listed} & files)


def _entries(plain: Mapping[str, Any], key: str, listing: Path) -> list[Entry]:
    do = 'write {"image": "./imagesTr/NAME.nii.gz", "label": "./labelsTr/NAME.nii.gz"}'
    return [
        parsed(Entry, entry, f"entry {number} of `{key}` of {listing}", do)
        for number, entry in enumerate(section(plain, key, listing), start=1)
    ]


def _listed(spec: DataSpec, root: Path, entry: Entry, part: str | None) -> Case:
    image = root / entry.image
    label = root / entry.label if entry.label else None
    return _case(spec, stem(image), image, label, part)


def _paired(spec: DataSpec, root: Path) -> list[Case]:
    options = spec.layout.options(Options)
    images, labels = images_in(root / options.images), images_in(root / options.labels)
    names = sorted(images.keys() | labels.keys())
    return [_case(spec, name, images.get(name), labels.get(name), None) for name in names]


def _case(
    spec: DataSpec, name: str, image: Path | None, label: Path | None, part: str | None
) -> Case:
    images = {} if image is None else dict.fromkeys(spec.channels, image)
    session = spec.session_of(name)
    return Case(name, spec.patient_of(name), images, label, session, part)


LAYOUT = Layout(Options, cases, remarks="medssl.data.across:unused_files")
