"""A data spec for a folder of whatever order, from names, lists and what the files hold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medssl.data.dimensions import are_pictures
from medssl.data.found.contents import Contents
from medssl.data.found.folder import Found, recognise
from medssl.data.found.words_of_spec import spec_text, summary
from medssl.data.guess import guess_spec
from medssl.data.layouts import find_cases, layout_of, listed_cases
from medssl.data.layouts.glob import LABEL
from medssl.data.spec import Case, DataSpec, make_spec
from medssl.environment import data_root
from medssl.errors import DataError
from medssl.names import some_of
from medssl.registry import load


@dataclass(frozen=True)
class SpecDraft:
    """A data spec that would be written for a folder.

    Attributes:
        text: of its file, with reasons.
        summary: what was found, in lines; what may be wrong begins with "warning".
    """

    spec: DataSpec
    cases: Sequence[Case]
    text: str
    summary: Sequence[str]


def draft_spec(
    folder: Path,
    labels: Path | None,
    name: str,
    note: Callable[[str], None],
    on_progress: Callable[[int, int], None] | None = None,
) -> SpecDraft:
    """Look into a folder; writes nothing.

    Args:
        labels: folder of the masks, if they lie apart.
        name: of the data spec.
        note: is told what takes time.
        on_progress: is given the number of cases that were read, and of all.

    Raises:
        DataError: the folder cannot be read, or its files not be understood.
    """
    found, plain = _recognised(folder, labels, name)
    spec = make_spec(plain, f"what was found in {folder}")
    cases, contents, layout = find_cases(spec), Contents(), layout_of(spec)
    if layout.contents is not None:
        note(f"reading {len(cases)} {layout.noun} and their {layout.truth}s")
        contents = load(layout.contents)(cases, on_progress)
        if contents.modality is None and found.modality_why:
            contents.modality, contents.why = found.modality, found.modality_why
        plain = _completed(plain, contents, cases, found.structure)
        plain = _without_unseen(plain, found, contents)
        spec = make_spec(plain, f"what was found in {folder}")
        cases = find_cases(spec)
    text = spec_text(spec, plain, found, contents, cases)
    make_spec({"name": name, **yaml.safe_load(text)}, f"the data spec of {folder}")
    return SpecDraft(spec, cases, text, summary(spec, found, contents, cases))


def _recognised(folder: Path, labels: Path | None, name: str) -> tuple[Found, dict[str, Any]]:
    """What the folder is, and the keys of its data spec as far as names and lists say them."""
    common = {
        "name": name,
        "title": folder.resolve().name or name,
        "licence": "unknown",
        "citation": "unknown",
    }
    if labels is None and ((folder / "dataset.json").is_file() or (folder / "imagesTr").is_dir()):
        spec = guess_spec(folder)
        layout = spec.layout.model_dump(exclude_defaults=True)
        found = Found(layout, spec.channels, folder)
        known = {
            "labels": [{"value": one.value, "name": one.name} for one in spec.labels],
            "ignore": spec.ignore,
            "regions": {key: list(values) for key, values in spec.regions.items()},
            "regions_class_order": list(spec.regions_class_order or ()),
            "modality": "CT" if spec.modality == "CT" else None,
        }
    else:
        found = recognise(folder, labels)
        known = found.known
    plain = {
        **common,
        "modality": found.modality,
        "channels": list(found.channels) or ["scan"],
        **({"patient": found.patient} if found.patient else {}),
        "layout": found.layout,
        "root": _root(found.root),
        **{key: value for key, value in known.items() if value},
    }
    plain["modality"] = plain["modality"] or "MR"
    plain = _without_faults(plain, found)
    if not found.channels:  # the list of cases says them
        cases = find_cases(make_spec(plain, f"what was found in {folder}"))
        names = [scan.partition("#")[0] for case in cases for scan in case.images]
        plain["channels"] = list(dict.fromkeys(names)) or ["scan"]
    return found, plain


def _without_faults(plain: dict[str, Any], found: Found) -> dict[str, Any]:
    """The keys, in which cases are left out whose files cannot be told apart."""
    spec = make_spec(plain, f"what was found in {found.root}")
    if "leave_out" not in layout_of(spec).options.model_fields:
        return plain
    faults = listed_cases(spec)[1]
    names = sorted({fault.case for fault in faults})
    if not names:
        return plain
    found.notes.append(
        f"{len(names)} studies are left out ({some_of(names)}), first: {faults[0].what}; "
        "`series` in the data spec says which series is meant, and `layout.leave_out` names them"
    )
    return {**plain, "layout": {**plain["layout"], "leave_out": names}}


def _root(folder: Path) -> str:
    """A folder as a data spec names it: from the folder of all data sets, else in full."""
    whole, base = folder.resolve(), data_root().resolve()
    inside = whole.is_relative_to(base) and whole != base
    return whole.relative_to(base).as_posix() if inside else str(whole)


def _without_unseen(plain: dict[str, Any], found: Found, contents: Contents) -> dict[str, Any]:
    """The keys without structures that have files of their own and are marked in no mask."""
    if LABEL not in str(plain["layout"].get("label") or ""):
        return plain
    unseen = [one["name"] for one in plain["labels"] if one["value"] not in contents.values]
    if not unseen:
        return plain
    found.notes.append(
        f"{len(unseen)} structures are marked in no mask and are no labels: {some_of(unseen, 8)}"
    )
    outlined = {
        cases: [name for name in names if name not in unseen]
        for cases, names in plain.get("outlined", {}).items()
    }
    labels = [one for one in plain["labels"] if one["name"] not in unseen]
    return {**plain, "labels": labels, **({"outlined": outlined} if outlined else {})}


def _completed(
    plain: dict[str, Any], contents: Contents, cases: Sequence[Case], structure: str
) -> dict[str, Any]:
    """The keys with what the files hold: modality, channels, labels.

    Args:
        structure: what masks of one value show; empty where that is not known.
    """
    if contents.modality is not None and "modality" in plain:
        plain = {**plain, "modality": contents.modality}
    elif plain.get("modality") == "MR" and are_pictures(cases):
        plain = {**plain, "modality": "OT"}
    if contents.channels > 1 and len(plain["channels"]) == 1:
        layout = plain["layout"]
        pictures = are_pictures(cases) and contents.channels == 3
        names = [f"channel_{index}" for index in range(contents.channels)]
        names = ["red", "green", "blue"] if pictures else names
        if layout.get("kind") == "glob":
            (pattern,) = layout["images"].values()
            layout = {**layout, "images": dict.fromkeys(names, pattern)}
        plain = {**plain, "channels": names, "layout": layout}
    if contents.colours and not plain.get("labels"):
        labels = [
            {"value": number, "name": f"label_{number}", "colour": colour}
            for number, colour in enumerate(sorted(contents.colours), start=1)
        ]
        for number, colour in enumerate(sorted(contents.colours), start=1):
            contents.values[number] = contents.colours[colour]
        plain = {**plain, "labels": labels}
    if contents.values and not plain.get("labels"):
        one = structure if len(contents.values) == 1 else ""
        labels = [
            {"value": value, "name": one or f"label_{value}"} for value in sorted(contents.values)
        ]
        plain = {**plain, "labels": labels}
    if contents.empty and contents.values:
        plain = {**plain, "empty_masks": True}
    if contents.empty and not contents.values:
        raise DataError(
            f"none of the {len(contents.empty)} masks marks a voxel",
            f"first {contents.empty[0]}",
            "draw something, or take the masks out of the folder",
        )
    return plain
