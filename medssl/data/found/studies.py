"""A tree of DICOM studies with masks in DICOM: which series they were drawn on, and of what."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medssl.data.dicom.contents import Candidate, candidates_in
from medssl.data.dicom.series import Series
from medssl.data.dicom.stored import DAMAGE
from medssl.data.dicom.structures import (
    LABELMAP,
    RTSTRUCT,
    SEG,
    Structure,
    Structures,
    read_marked,
    read_structures,
)
from medssl.data.dicom.study import StudyFiles, studies_in
from medssl.data.layouts.dicom import plain_name
from medssl.errors import DataError
from medssl.names import some_of, unfit

_MOST_LABELS = 100


@dataclass(frozen=True)
class Studies:
    """What the masks of a tree say of it.

    Attributes:
        channel: what the series is called that they were drawn on.
        labels: as in a data spec, structures that hold others first, so that these stay visible.
        series: rule by which studies without a mask have the same series, where one is needed.
        notes: what a person should know, in sentences.
    """

    channel: str
    modality: str
    labels: tuple[dict[str, Any], ...]
    series: dict[str, Any]
    notes: tuple[str, ...]


@dataclass
class _Drawn:
    """What was drawn in all studies.

    Attributes:
        on: the series that masks were drawn on.
        named: masks by the plain name of a structure, each with the number of it.
        spelt: the first structure of each plain name.
        masks: with the series that they lie on.
        beside: other series of these and other studies.
    """

    on: list[Candidate] = field(default_factory=list)
    named: dict[str, set[Path]] = field(default_factory=lambda: defaultdict(set))
    spelt: dict[str, Structure] = field(default_factory=dict)
    masks: list[tuple[Structures, Series]] = field(default_factory=list)
    beside: list[Candidate] = field(default_factory=list)


def read_studies(folder: Path) -> Studies | None:
    """What masks in DICOM-SEG or RTSTRUCT say of the studies in a folder; None without any.

    Raises:
        DataError: there are such masks, and none was drawn on a series that is there, or they mark
            nothing that has a name.
    """
    studies = studies_in(folder)
    if not any(_is_mask(path) for one in studies for path in one.files):
        return None
    drawn = _Drawn()
    for one in studies:
        _look(one, drawn)
    if not drawn.masks:
        raise DataError(
            f"{folder} holds masks in DICOM, and none of the series that they were drawn on",
            "",
            "put the images of the studies beside them",
        )
    chosen, others = _chosen(drawn)
    if not chosen:
        raise DataError(
            f"no structure of the masks in {folder} has a name that a label can have",
            f"they are called {some_of(sorted(drawn.named), 8)}",
            "write a data spec with `layout: {kind: dicom, segments: {LABEL: [NAME]}}`",
        )
    notes = []
    if others:
        notes.append(
            f"{len(others)} structures are in less than half of the masks and no labels: "
            f"{some_of(others, 8)}; add those that you want to `labels` by their names"
        )
    channel, modality = _channel(drawn.on)
    return Studies(
        channel, modality, tuple(_labels(chosen, drawn)), _rule(channel, drawn), tuple(notes)
    )


def read_heap(folder: Path) -> Studies | None:
    """Studies without a mask whose files lie in one heap; None without any.

    Raises:
        DataError: one has several series, so that it cannot be told which is meant.
    """
    images = []
    for study in studies_in(folder):
        found = [one for one in candidates_in(study) if one.series is not None]
        if len(found) > 1:
            raise DataError(
                f"{folder} holds DICOM studies of several series in one heap",
                f"the first has {some_of([one.name for one in found])}",
                "give each series a folder of its own, or write a data spec with `layout: {kind: "
                "dicom}` whose `series` say which is meant (`medssl keys data`)",
            )
        images += found
    if not images:
        return None
    return Studies(*_channel(images), (), {}, ())


def _is_mask(path: Path) -> bool:
    """Whether a DICOM file is a segmentation or a set of structures, by its first bytes."""
    from pydicom.filereader import read_file_meta_info

    try:
        kind = read_file_meta_info(path).get("MediaStorageSOPClassUID")
    except DAMAGE:
        return False
    return kind in (SEG, LABELMAP, RTSTRUCT)


def _look(study: StudyFiles, drawn: _Drawn) -> None:
    candidates = candidates_in(study)
    masks = [one for one in candidates if one.facts.modality in ("SEG", "RTSTRUCT")]
    images = [one for one in candidates if one.series is not None]
    on: list[Candidate] = []
    for path in (path for one in masks for path in one.paths):
        try:
            found = read_structures(path)
        except DataError:  # the check names it
            continue
        for one in images:
            if one.series is None or not found.is_on(one.series):
                continue
            on.append(one)
            drawn.masks.append((found, one.series))
            for part in found.found:
                drawn.named[plain_name(part.name)].add(path)
                drawn.spelt.setdefault(plain_name(part.name), part)
    drawn.on += on
    drawn.beside += [one for one in images if one not in on]


def _chosen(drawn: _Drawn) -> tuple[list[str], list[str]]:
    """Names of the structures that are labels, and of those that are too rare for it."""
    fit = [name for name in drawn.named if name and not unfit(drawn.spelt[name].name)]
    most = max((len(drawn.named[name]) for name in fit), default=0)
    masks = len({found.path for found, _ in drawn.masks})
    least = min(most, (masks + 1) // 2)
    usual = sorted(name for name in fit if len(drawn.named[name]) >= least)[:_MOST_LABELS]
    return usual, sorted(set(drawn.named) - set(usual))


def _labels(chosen: Sequence[str], drawn: _Drawn) -> list[dict[str, Any]]:
    """The labels, largest first, by the first mask that has each."""
    sizes = {name: _voxels(name, drawn) for name in chosen}
    ordered = sorted(chosen, key=lambda name: -sizes[name])
    return [_label(value, drawn.spelt[name]) for value, name in enumerate(ordered, start=1)]


def _voxels(name: str, drawn: _Drawn) -> int:
    for found, series in drawn.masks:
        for part in found.found:
            if plain_name(part.name) == name:
                try:
                    return int(read_marked(found.path, {part.number: 1}, series)[0].sum())
                except DataError:
                    break
    return 0


def _label(value: int, part: Structure) -> dict[str, Any]:
    return {"value": value, "name": part.name.strip()}


def _channel(on: Sequence[Candidate]) -> tuple[str, str]:
    """Name and modality of the series that most masks were drawn on."""
    shown, modality = Counter((one.contrast, one.facts.modality) for one in on).most_common(1)[0][0]
    return shown or "scan", modality


def _rule(channel: str, drawn: _Drawn) -> dict[str, Any]:
    """The description that all series with a mask share, where other series have another one."""
    told = {one.facts.description.lower() for one in drawn.on}
    text = told.pop() if len(told) == 1 else ""
    others = {one.facts.description.lower() for one in drawn.beside} - {text}
    if not text or "..." in text or not others:
        return {}
    return {channel: {"description": f"^{re.escape(text)}"}}
