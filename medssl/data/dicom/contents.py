"""What a study holds: every series, the volumes in it, and why others are none."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medssl.data.dicom.contrast import contrast_of_series
from medssl.data.dicom.facts import Facts, read_facts
from medssl.data.dicom.series import Series, series_of
from medssl.data.dicom.slices import NoDicomError, header_of, slices_of
from medssl.data.dicom.stacks import stacks_of
from medssl.data.dicom.study import StudyFiles, named_series
from medssl.data.dicom.tags import Slice
from medssl.errors import DataError

_SPLINTER = "it is the smaller part of a series whose larger part cannot be used"
"""Of slices that damage to their headers sets apart, as much as of scouts."""


@dataclass(frozen=True)
class Candidate:
    """One volume of a study, or a series that is none.

    Attributes:
        facts: what the series says of itself.
        paths: the files of the series.
        part: what tells the volume from others of its series, e.g. "echo time 30".
        series: its slices and grid; None where they form none.
        fault: why they form none.
        copies: slices that are there more than once.
        contrast: that it shows; empty where it does not say.
    """

    facts: Facts
    paths: tuple[Path, ...]
    part: str = ""
    series: Series | None = None
    fault: str = ""
    copies: int = 0
    contrast: str = ""

    @property
    def name(self) -> str:
        """What it is, in a few words, e.g. "series 11, T1post, MR, 22 slices of 320 x 280"."""
        number = "series" if self.facts.number is None else f"series {self.facts.number}"
        parts = [number, self.facts.description, self.part, self.facts.modality]
        if self.series is None:
            parts.append(f"{len(self.paths)} file{'s' * (len(self.paths) != 1)}")
        else:
            columns, rows, count = self.series.geometry.shape
            sides = " x ".join(f"{side:.3g}" for side in self.series.geometry.spacing)
            parts.append(f"{count} slice{'s' * (count != 1)} of {columns} x {rows}, {sides} mm")
        return ", ".join(filter(None, parts))


def candidates_in(study: StudyFiles) -> list[Candidate]:
    """Every volume and every other series of a study, by number and description."""
    found: list[Candidate] = []
    for files, slices, fault in _by_series(study.files):
        facts = read_facts(files[0])
        if fault or not slices:
            found.append(Candidate(facts, tuple(files), fault=fault))
        else:
            found += _volumes(facts, slices, tuple(files))
    return sorted(found, key=lambda one: (one.facts.number or 0, one.facts.texts))


def _by_series(files: Iterable[Path]) -> list[tuple[list[Path], list[Slice], str]]:
    """Files, slices and fault of each series."""
    paths: dict[str, list[Path]] = {}
    slices: dict[str, list[Slice]] = {}
    faults: dict[str, str] = {}
    for path in files:
        name, found, fault = _look(path)
        paths.setdefault(name, []).append(path)
        slices.setdefault(name, []).extend(found)
        if fault:
            faults.setdefault(name, fault)
    return [(paths[name], slices[name], faults.get(name, "")) for name in paths]


def _look(path: Path) -> tuple[str, list[Slice], str]:
    """Series, slices and fault of a file."""
    try:
        header = header_of(path)
    except (NoDicomError, OSError):
        return "", [], "its files cannot be read"
    except DataError as error:
        return named_series(path), [], str(error)
    if header is None:
        return named_series(path), [], ""
    try:
        found = slices_of(path, header)
    except DataError as error:
        return named_series(path), [], f"{error.what.replace(str(path), path.name)}; {error.why}"
    return found[0].series, found, ""


def _volumes(facts: Facts, slices: Sequence[Slice], files: tuple[Path, ...]) -> list[Candidate]:
    stacks, copies = stacks_of(slices)
    found = []
    for part, stack in stacks:
        own = facts if len(stacks) == 1 else _facts_of(stack[0])
        try:
            series, fault = series_of(stack), ""
        except DataError as error:
            series, fault = None, "; ".join(filter(None, (error.what, error.why)))
        shown = contrast_of_series(own)
        found.append(Candidate(own, files, part, series, fault, copies, shown))
    sizes = [len(stack) for _, stack in stacks]
    spoilt = max((size for size, one in zip(sizes, found, strict=True) if one.fault), default=0)
    return [
        replace(one, series=None, fault=_SPLINTER) if not one.fault and size < spoilt else one
        for size, one in zip(sizes, found, strict=True)
    ]


def _facts_of(one: Slice) -> Facts:
    """The facts of one volume among several of a series: a localiser in it is one by itself."""
    facts, marks = read_facts(one.path), dict(one.marks or ())
    kind = marks.get("image type", "")
    return replace(facts, image_type=tuple(kind.upper().split("\\"))) if kind else facts
