"""A data spec for a bare folder, from its dataset.json or the names of its files."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medssl.data.files import images_in
from medssl.data.found.folder import recognise
from medssl.data.layouts.decathlon import is_numbered
from medssl.data.listing import read_listing
from medssl.data.spec import DataSpec, make_spec
from medssl.errors import DataError, UsageError
from medssl.names import LONGEST, shown, unfit

_CHANNEL = re.compile(r"_(\d{4})$")


def guess_spec(folder: Path) -> DataSpec:
    """The layout, channels and labels that the folder shows; labels only from a dataset.json.

    Raises:
        DataError: there is no such folder, its dataset.json is damaged, or its layout cannot be
            recognised.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}", do="check the path")
    listing = folder / "dataset.json"
    plain = read_listing(listing) if listing.is_file() else {}
    numbered = _numbers(folder)
    modality, patient, more = None, None, dict[str, Any]()
    if _is_nnunet(folder, plain, bool(numbered)):
        layout: dict[str, Any] = {"kind": "nnunet"}
        names = _named(plain, "channel_names", listing) or _named(plain, "modality", listing)
        channels = names or tuple(f"channel_{i}" for i in range(max(numbered, default=0) + 1))
    elif "training" in plain or (folder / "imagesTr").is_dir():
        layout = {"kind": "decathlon"}
        channels = _named(plain, "modality", listing) or ("image",)
    else:
        found = recognise(folder)
        layout, modality, patient = found.layout, found.modality, found.patient
        channels, more = tuple(found.channels) or ("scan",), found.known
    labels, regions = _labels(plain, listing)
    ignored = [value for value, name in labels.items() if name.lower() == "ignore"]
    order = _order(plain, listing) if regions else None
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", folder.resolve().name)[:LONGEST].strip("_.-")
    guessed = {
        "name": name if not unfit(name) else "folder",
        "title": f"Folder {folder}",
        "modality": modality or ("CT" if {name.upper() for name in channels} == {"CT"} else "MR"),
        "channels": channels,
        "labels": [
            {"value": value, "name": name}
            for value, name in sorted(labels.items())
            if value not in ignored
        ],
        "ignore": ignored[0] if ignored else None,
        "regions": regions,
        "regions_class_order": order,
        "root": str(folder.absolute()),
        "layout": layout,
        "patient": patient,
        "licence": "unknown",
        "citation": "unknown",
        **{key: value for key, value in more.items() if value},
    }
    try:
        return make_spec(guessed, f"dataset.json of {folder}")
    except UsageError as error:
        raise DataError(error.what, error.why, "correct the file, or write a data spec") from None


def _is_nnunet(folder: Path, plain: Mapping[str, Any], numbered: bool) -> bool:
    """Whether every channel is a file of its own, as in nnU-Net's folders, old and new."""
    if "channel_names" in plain:
        return True
    return numbered and (not plain.get("training") or is_numbered(folder, plain))


def _numbers(folder: Path) -> list[int]:
    """Channel numbers of nnU-Net's file names; empty unless every image has one."""
    matches = [_CHANNEL.search(name) for name in images_in(folder / "imagesTr")]
    found = [int(match.group(1)) for match in matches if match]
    return found if len(found) == len(matches) else []


def _named(plain: Mapping[str, Any], key: str, listing: Path) -> tuple[str, ...]:
    """{"0": "T1", "1": "T2"} under `key` as names in order; equal names get their number."""
    names = plain.get(key)
    if names is None:
        return ()
    if not isinstance(names, Mapping) or not all(_is_number(number) for number in names):
        raise _wrong(listing, key, names, '{"0": "T1", "1": "T2"}')
    ordered = [_fitting(str(names[number])) for number in sorted(names, key=int)]
    return tuple(
        name if ordered.count(name) == 1 else f"{name}_{index}"
        for index, name in enumerate(ordered)
    )


def _labels(
    plain: Mapping[str, Any], listing: Path
) -> tuple[dict[int, str], dict[str, tuple[int, ...]]]:
    """Names of the label values, and nnU-Net's regions: names of several values each.

    Labels have either form: {"1": "name"} or {"name": 1}; a value that only regions have is named
    by its number. Where one label is a list, each of the others is a region by itself.
    """
    labels = plain.get("labels")
    if labels is None:
        return {}, {}
    if not isinstance(labels, Mapping):
        raise _wrong(listing, "labels", labels, '{"background": 0, "liver": 1}')
    found: dict[int, str] = {}
    regions: dict[str, tuple[int, ...]] = {}
    unions = False
    for key, value in labels.items():
        number, name = (key, value) if _is_number(key) else (value, key)
        fitting = _fitting(str(name))
        if isinstance(number, list) and number and all(_is_number(one) for one in number):
            unions = True
            regions[fitting] = tuple(one for one in dict.fromkeys(map(int, number)) if one)
        elif _is_number(number):
            found[int(number)] = fitting
            if int(number) and fitting.lower() != "ignore":
                regions[fitting] = (int(number),)
        else:
            raise _wrong(listing, "labels", {key: value}, '{"background": 0, "liver": 1}')
    united = {value for union in regions.values() for value in union}
    found = {**{value: f"value_{value}" for value in united}, **found}
    found.pop(0, None)
    return found, regions if unions else {}


def _order(plain: Mapping[str, Any], listing: Path) -> list[int] | None:
    """nnU-Net's values in the order of writing, if they are given."""
    order = plain.get("regions_class_order")
    if order is None:
        return None
    if not isinstance(order, list) or not all(_is_number(one) for one in order):
        raise _wrong(listing, "regions_class_order", order, "[1, 2, 3]")
    return [int(one) for one in order]


def _is_number(given: Any) -> bool:
    return not isinstance(given, bool | float) and str(given).isdecimal() and len(str(given)) < 10


def _fitting(name: str) -> str:
    """A name of a label or channel without what a name must not have."""
    plain = re.sub(r"[\x00-\x1f\x7f-\x9f/\\<>:\"|?*#]", "_", name)[:LONGEST].strip(" .")
    return f"_{plain}" if unfit(plain) else plain


def _wrong(listing: Path, key: str, given: Any, right: str) -> DataError:
    return DataError(
        f"`{key}` of {listing} is {shown(given)}", "", f"write it as for example {right}"
    )
