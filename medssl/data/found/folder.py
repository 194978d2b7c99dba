"""How the files of a folder become cases, by lists and names; hardly an image is read."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medssl.data.csv_table import read_rows
from medssl.data.files import DICOM, PICTURES, visible
from medssl.data.found.items import Item, items_below
from medssl.data.found.masks import masks_by_content
from medssl.data.found.matching import Matched, match, told
from medssl.data.found.scans import read_scans
from medssl.data.found.structures import Parted, only_structure, structures
from medssl.data.found.studies import read_heap, read_studies
from medssl.data.found.tables import read_table
from medssl.data.found.words import VISITS, names_a_mask, names_a_part
from medssl.data.layouts.glob import PART, PATIENT
from medssl.data.layouts.slides import SUFFIXES as SLIDES
from medssl.errors import DataError
from medssl.names import some_of

_HEADERS = "as the DICOM headers say"


@dataclass
class Found:
    """What a folder is.

    Attributes:
        layout: as in a data spec.
        channels: names; empty where the list of cases has to say them.
        modality: where it is known by the kind of files.
        modality_why: what tells it, in words; empty where the files may say more.
        root: the data set's folder.
        rule: how masks and scans belong together, in words; empty where a list says it.
        labels_why: what the data spec says above its labels.
        structure: what all masks show, by the name of their files; empty where that is not said.
        patient: regular expression, where names show several scans of one patient.
        notes: what a person should know, in sentences.
        known: further keys of the data spec.
    """

    layout: dict[str, Any]
    channels: Sequence[str]
    root: Path
    modality: str | None = None
    modality_why: str = ""
    rule: str = ""
    labels_why: str = ""
    structure: str = ""
    patient: str | None = None
    notes: list[str] = field(default_factory=list)
    known: dict[str, Any] = field(default_factory=dict)


def recognise(folder: Path, labels: Path | None = None) -> Found:
    """What the files of a folder are, by lists of them, else by their names.

    A folder with a dataset.json, or laid out as nnU-Net and the Decathlon do, is told by
    `medssl.data.guess`.

    Args:
        labels: where the masks are, if they are not in the folder.

    Raises:
        DataError: it cannot be told, or masks cannot be matched with scans.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}", do="check the path")
    if labels is None:
        for read in (_listed, _with_table, _slides, _studies):
            if (found := read(folder)) is not None:
                return found
    return _named(folder, labels)


def _listed(folder: Path) -> Found | None:
    """Folders that a list describes, and BIDS."""
    if (folder / "pretrain_data.json").is_file():
        return Found({"kind": "nnssl"}, (), folder)
    for path in visible(folder):
        if path.suffix.lower() == ".json" and path.name != "dataset.json":
            with suppress(OSError, ValueError, RecursionError, AttributeError, TypeError):
                first = json.loads(path.read_text(encoding="utf-8-sig"))["training"][0]["image"]
                count = len(first) if isinstance(first, list) else 1
                return Found({"kind": "datalist", "file": path.name}, _numbered(count), folder)
    if (folder / "train.list").is_file():
        return _folders(folder)
    if any(one.name.startswith("sub-") and any(one.rglob("anat")) for one in visible(folder)):
        masked = [one for one in items_below(folder) if names_a_mask(one.plain)]
        if not masked:
            return Found({"kind": "bids"}, (), folder)
    return None


def _numbered(count: int) -> list[str]:
    return ["image"] if count == 1 else [f"channel_{index}" for index in range(count)]


def _folders(folder: Path) -> Found:
    """train/CASE/..., with the names of cases in train.list."""
    items = items_below(folder / "train")
    names = Counter(one.name + one.ending for one in items)
    masks = [name for name in names if names_a_mask(name)]
    images = sorted(name for name in names if name not in masks)
    channels = ["image"] if len(images) == 1 else [name.partition(".")[0] for name in images]
    lists = {
        part: f"{part}.list" for part in ("train", "test") if (folder / f"{part}.list").is_file()
    }
    layout = {"kind": "folders", "images": dict(zip(channels, images, strict=True)), "lists": lists}
    return Found({**layout, **({"label": masks[0]} if masks else {})}, channels, folder)


def _with_table(folder: Path) -> Found | None:
    keys = read_table(folder)
    if keys is None:
        return None
    root, rule = keys.get("root", folder), keys.get("rule", "")
    return Found(keys["layout"], keys["channels"], root, keys["modality"], rule=rule)


def _slides(folder: Path) -> Found | None:
    endings = {path.suffix.lower() for path in visible(folder)}
    if not endings & (set(SLIDES) - set(PICTURES)):
        return None
    tables = [path for path in visible(folder) if path.suffix.lower() == ".csv"]
    columns = list(read_rows(tables[0], (), "layout.table", "slide, label")[0]) if tables else []
    raise DataError(
        f"{folder} holds slides and no table of what they show",
        f"{tables[0].name} has the columns {', '.join(columns)}" if tables else "",
        "write labels.csv there with the columns slide and label, for a start of a few slides",
    )


def _studies(folder: Path) -> Found | None:
    found = read_studies(folder)
    if found is None:
        return None
    rule = "masks are DICOM-SEG or RTSTRUCT, and belong to the series that they name"
    known = {"labels": list(found.labels), "series": found.series}
    return Found(
        {"kind": "dicom"},
        [found.channel],
        folder,
        found.modality,
        _HEADERS,
        rule,
        "Structures of the masks, by their names; a later one lies over an earlier one.",
        notes=list(found.notes),
        known=known,
    )


def _named(folder: Path, labels: Path | None) -> Found:
    """Scans and masks by their names."""
    items = items_below(folder)
    if labels is not None:
        masks = items_below(folder, labels)
        inside = {one.path for one in masks}
        images = [one for one in items if one.path not in inside and not names_a_mask(one.plain)]
        _refuse_none(masks, labels, "mask")
    else:
        masks = [one for one in items if names_a_mask(one.plain)]
        images = [one for one in items if not names_a_mask(one.plain)]
        if not masks and images:
            masks = masks_by_content(images)
            images = [one for one in images if one not in masks]
    if masks and not images:
        raise DataError(
            f"{folder} holds {len(masks)} masks and no scan",
            f"by their names, all are masks, first {masks[0].shown}",
            "name the folder that holds the scans too, or the masks' folder as --labels",
        )
    if not images and (heap := read_heap(folder)) is not None:
        return Found({"kind": "dicom"}, [heap.channel], folder, heap.modality, _HEADERS)
    _refuse_none(images, folder, "image")
    scans = read_scans(images)
    if (parted := structures(scans, masks)) is not None:
        return _of_structures(_found(folder, parted.matched, images), parted)
    return _found(folder, match(scans, masks), images)


def _of_structures(found: Found, parted: Parted) -> Found:
    """With the structures as labels, and what is outlined where that is not all."""
    found.known["labels"] = [
        {"value": value, "name": name} for value, name in enumerate(parted.names, start=1)
    ]
    found.labels_why = (
        "Structures, by the names of their files; later ones lie over earlier ones. Take out what "
        "is not\nto be learnt."
    )
    partial: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for key, masks in parted.by_case.items():
        if len(masks) < len(parted.names):
            partial[tuple(name for name in parted.names if name in masks)].append(
                "_".join(filter(None, key))
            )
    if partial:
        cases = [case for found_in in partial.values() for case in found_in]
        found.known["outlined"] = {
            f"^(?:{'|'.join(map(re.escape, cases))})$": list(names)
            for names, cases in partial.items()
        }
        found.notes.append(
            f"{len(cases)} scans have masks of some structures alone ({some_of(cases)}); the "
            "others are taken not to be outlined there, as `outlined` in the data spec says; add "
            "a mask without a voxel where there is none to see"
        )
    return found


def _refuse_none(items: Sequence[Item], folder: Path, what: str) -> None:
    if not items:
        raise DataError(
            f"{folder} holds no {what} that can be read",
            "looked for NIfTI, NRRD, MetaImage, DICOM, PNG, JPEG and TIFF files in it and below",
            "name the folder that holds them",
        )


def _found(folder: Path, matched: Matched, images: Sequence[Item]) -> Found:
    scans = matched.scans
    patterns, label = {}, matched.label
    divided = all(names_a_part(first) for first, _ in scans.found)
    for channel, pattern in scans.channels.items():
        ending, unlike = _ending(
            [files[channel] for files in scans.found.values() if channel in files]
        )
        place = pattern.replace(PATIENT, PART) if divided else pattern
        patterns[channel] = place + ending
        scans.unused += unlike
    layout: dict[str, Any] = {"kind": "glob", "images": patterns}
    rule = ""
    if label is not None:
        label = label.replace(PATIENT, PART) if divided else label
        layout["label"] = label + _ending(matched.masks)[0]
        scan = next(iter(scans.channels.values()))
        scan = scan.replace(PATIENT, PART) if divided else scan
        rule = f"{told(label)} belongs to {told(scan)}"
    notes = []
    if scans.unused:
        names = some_of([one.shown for one in scans.unused])
        notes.append(
            f"{len(scans.unused)} images are unlike the others by name or format and not used: "
            f"{names}"
        )
    pictures = all(one.ending.lower() in (*PICTURES, *DICOM) for one in images)
    named = PATIENT in "".join(patterns.values())
    patient = None if named else patients_in([case for _, case in scans.found])
    modality = "OT" if pictures else None
    found = Found(layout, list(patterns), folder, modality, rule=rule, patient=patient, notes=notes)
    found.structure = only_structure(matched.label or "", scans.channels.values())
    return found


def _ending(items: Sequence[Item]) -> tuple[str, list[Item]]:
    """How the pattern of these ends, and those that no such pattern fits.

    One pattern fits either files or folders, of DICOM series; it is that of the most.
    """
    series = [one for one in items if one.ending == "/"]
    files = [one for one in items if one.ending != "/"]
    if len(series) > len(files):
        return "/", files
    endings = {one.ending for one in files}
    return endings.pop() if len(endings) == 1 else ".*", series


def patients_in(names: Sequence[str]) -> str | None:
    """A regular expression whose group 1 is the patient, where names show several scans of one.

    Either a word such as visit, ses or left stands before the last number or ends the name, or one
    of few endings (_1, _2) stands behind each of several patients. None where names show nothing.
    """
    visits = "|".join(sorted(VISITS, key=len, reverse=True))
    for expression in (
        rf"(?i)^(.+?)[_-](?:{visits})[_-]?\d*$",
        r"^(.+?)[_-](?:\d{8}|\d{4}-\d{2}-\d{2})$",
        r"^(.+)[_-][^_-]{1,3}$",
    ):
        matches = [re.match(expression, name) for name in names]
        found = [one for one in matches if one is not None]
        if len(found) < len(names) or not found:
            continue
        groups = Counter(one[1] for one in found)
        endings = {name[one.end(1) :] for name, one in zip(names, found, strict=True)}
        several = max(groups.values()) > 1 and len(groups) > 1
        numbered = expression.startswith("^(.+)")
        if several and (not numbered or (len(endings) <= 5 and len(groups) > len(endings))):
            return expression
    return None
