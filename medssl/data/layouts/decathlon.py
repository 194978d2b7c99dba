"""Medical Segmentation Decathlon: dataset.json, imagesTr, labelsTr, imagesTs.

Without dataset.json, images and labels are paired by file name. Several channels lie in one 4-D
file. Test images are used only where they have labels, which the official ones have not.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from medssl.data.files import images_in, stem
from medssl.data.spec import Case, DataSpec
from medssl.errors import DataError


class Options(BaseModel):
    """Keys of this layout: the folders that are paired where there is no dataset.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: str = "imagesTr"
    labels: str = "labelsTr"


def cases(spec: DataSpec, root: Path) -> list[Case]:
    """Cases in the order of dataset.json, else of file names."""
    listing = root / "dataset.json"
    if not listing.is_file():
        return _paired(spec, root)
    plain = read_listing(listing)
    found = [_listed(spec, root, entry, None) for entry in plain.get("training", [])]
    for entry in plain.get("test", []):
        if isinstance(entry, dict) and "label" in entry:
            found.append(_listed(spec, root, entry, "test"))
    return found


def read_listing(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        DataError: the file is not JSON or holds no object.
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError) as error:
        raise DataError(f"{path} cannot be read", str(error), "correct the file") from None
    if not isinstance(plain, dict):
        raise DataError(f"{path} holds no JSON object", do="correct the file")
    return plain


def _listed(spec: DataSpec, root: Path, entry: Any, part: str | None) -> Case:
    if isinstance(entry, str):
        entry = {"image": entry}
    if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
        raise DataError(
            f"{root / 'dataset.json'} has an entry without an image",
            f"it is {entry!r}",
            'write {"image": "./imagesTr/NAME.nii.gz", "label": "./labelsTr/NAME.nii.gz"}',
        )
    image = root / entry["image"]
    label = root / entry["label"] if entry.get("label") else None
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
