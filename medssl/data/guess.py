"""A data spec for a bare folder, from its dataset.json or its folders' names."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medssl.data.files import images_in
from medssl.data.layouts.decathlon import read_listing
from medssl.data.spec import DataSpec, Label, Layout
from medssl.errors import DataError

_PAIRS = (("imagesTr", "labelsTr"), ("images", "labels"))
_CHANNEL = re.compile(r"_(\d{4})$")


def guess_spec(folder: Path) -> DataSpec:
    """The layout, channels and labels that the folder shows; labels only from a dataset.json.

    Raises:
        DataError: there is no such folder, or its layout cannot be guessed.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}", do="check the path")
    plain = _listing(folder)
    numbered = _numbers(folder)
    if "channel_names" in plain or (numbered and "training" not in plain):
        layout = Layout(kind="nnunet")
        names = _named(plain.get("channel_names"))
        channels = names or tuple(f"channel_{i}" for i in range(max(numbered, default=0) + 1))
    else:
        layout = _pairs(folder, plain)
        channels = _named(plain.get("modality")) or ("image",)
    return DataSpec(
        name=re.sub(r"[^A-Za-z0-9_.-]", "_", folder.resolve().name).lstrip("_.-") or "folder",
        title=f"Folder {folder}",
        modality="CT" if {name.upper() for name in channels} == {"CT"} else "MR",
        channels=channels,
        labels=_labels(plain.get("labels")),
        root=str(folder.absolute()),
        layout=layout,
        licence="unknown",
        citation="unknown",
    )


def _listing(folder: Path) -> dict[str, Any]:
    path = folder / "dataset.json"
    return read_listing(path) if path.is_file() else {}


def _pairs(folder: Path, plain: Mapping[str, Any]) -> Layout:
    if "training" in plain:
        return Layout(kind="decathlon")
    for images, labels in _PAIRS:
        if (folder / images).is_dir():
            return Layout.model_validate({"kind": "decathlon", "images": images, "labels": labels})
    raise DataError(
        f"the layout of {folder} is unknown",
        "it has neither a dataset.json nor a folder imagesTr or images",
        "write a data spec and check that (data_specs/ has examples)",
    )


def _numbers(folder: Path) -> list[int]:
    """Channel numbers of nnU-Net's file names; empty unless every image has one."""
    matches = [_CHANNEL.search(name) for name in images_in(folder / "imagesTr")]
    found = [int(match.group(1)) for match in matches if match]
    return found if len(found) == len(matches) else []


def _named(names: Any) -> tuple[str, ...]:
    """{"0": "T1", "1": "T2"} as names in order; equal names get their number."""
    if not isinstance(names, Mapping):
        return ()
    ordered = [str(names[key]) for key in sorted(names, key=int)]
    return tuple(
        name if ordered.count(name) == 1 else f"{name}_{index}"
        for index, name in enumerate(ordered)
    )


def _labels(plain: Any) -> tuple[Label, ...]:
    """Labels of either form: {"1": "name"} or {"name": 1}; nnU-Net's regions are passed over."""
    if not isinstance(plain, Mapping):
        return ()
    found = {}
    for key, value in plain.items():
        number, name = (key, value) if str(key).isdigit() else (value, key)
        if str(number).isdigit() and int(number) > 0:
            found[int(number)] = str(name)
    return tuple(Label(value=value, name=found[value]) for value in sorted(found))
