"""What scans are like, before any is changed: grids of all, intensities inside the masks of some.

A case is looked at once; what was found is kept by the content of its files. Sources: nnU-Net's
fingerprint; sections 1 and 5 of the planning sheet.
"""

import os
import zipfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np

from medssl.atomic import appearing
from medssl.data.geometry import Geometry
from medssl.data.plan.parts import SMALL, small_parts
from medssl.data.plan.places import overlap, places_of
from medssl.data.refusal import attempt, refuse_cases
from medssl.data.spec import Case, DataSpec
from medssl.data.volume import read_mask, read_volume
from medssl.data.workers import Workers
from medssl.errors import DataError

SAMPLES = 10_000
"""Voxels inside a mask that stand for all of them; each case counts alike, however large."""

SEED = 1234
AIR = -500.0
"""Body lies above it, HU."""

ENDS = (0.5, 99.5)
"""Percentiles between which intensities lie, but for outliers."""

VERSION = 3  # of what is found in a case; raise it when a file of an earlier one would mislead

Triple = tuple[int, int, int]
Sides = tuple[float, float, float]
Range = tuple[float, float]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class CaseFacts:
    """What one case is like, as read from its files.

    Attributes:
        shape: voxels along each axis.
        spacing: mm along each axis.
        box: voxels along each axis of the part that is above the channels' lowest value.
        body: percentiles `ENDS` of the voxels above `AIR`, over all channels; of CT.
        inside: intensities of `SAMPLES` voxels inside the mask, float32; empty without a mask.
        parts: mm across the small parts of each label value that the mask holds.
        places: where each of them lies, along the axes of the orientation, see `places_of`.
        patient: whose scan it is.
    """

    shape: Triple
    spacing: Sides
    box: Triple
    body: Range
    inside: np.ndarray
    parts: Mapping[int, float] = field(default_factory=dict)
    places: Mapping[int, np.ndarray] = field(default_factory=dict)
    patient: str = ""

    @property
    def kept(self) -> float:
        """Share of the scan's voxels that lies in `box`; the rest is empty margin."""
        return float(np.prod(self.box, dtype=float) / np.prod(self.shape, dtype=float))

    @property
    def labelled(self) -> bool:
        """Whether a mask marks voxels of it."""
        return self.inside.size > 0


@dataclass(frozen=True)
class Fingerprint:
    """What all scans are like; that of two sets is the sum of both."""

    cases: tuple[CaseFacts, ...]

    def __add__(self, other: Self) -> "Fingerprint":
        """The fingerprint of the cases of both."""
        return Fingerprint((*self.cases, *other.cases))

    @property
    def spacings(self) -> list[Sides]:
        """Mm along each axis, of each case."""
        return [case.spacing for case in self.cases]

    def shapes(self, cropped: bool) -> list[Triple]:
        """Voxels along each axis, of each case; of its `box` where margins are cut away."""
        return [case.box if cropped else case.shape for case in self.cases]

    @property
    def kept(self) -> float:
        """Median over the cases of `CaseFacts.kept`."""
        return float(np.median([case.kept for case in self.cases]))

    def inside(self) -> np.ndarray | None:
        """Intensities inside the masks of all cases that have one; None where none has."""
        found = [case.inside for case in self.cases if case.labelled]
        return np.concatenate(found) if found else None

    @property
    def finest(self) -> float | None:
        """Mm across small parts of the label that has the smallest; None where none has a mask.

        A tenth of the cases with a label have smaller ones of it.
        """
        by_label: dict[int, list[float]] = defaultdict(list)
        for case in self.cases:
            for value, across in case.parts.items():
                by_label[value].append(across)
        small = [float(np.percentile(one, 100 * SMALL)) for one in by_label.values()]
        return min(small, default=None)

    @property
    def settled(self) -> float | None:
        """How much of a structure lies where it does in other patients, see `overlap`."""
        return overlap([(case.patient, case.places) for case in self.cases])

    def apart(self) -> int:
        """How many labelled cases have body intensities outside those of all unlabelled ones."""
        rest = [case.body for case in self.cases if not case.labelled]
        if not rest:
            return 0
        low, high = min(one[0] for one in rest), max(one[1] for one in rest)
        slack = 0.1 * (high - low)
        return sum(
            case.body[0] < low - slack or case.body[1] > high + slack
            for case in self.cases
            if case.labelled
        )


def look_at(case: Case, spec: DataSpec, orientation: str | None) -> CaseFacts:
    """Read a case and tell what it is like.

    Args:
        orientation: of the axes, e.g. RAS; None: those of the file.

    Raises:
        DataError: a file is missing or cannot be read, or the mask does not fit the scan.
    """
    channels = spec.channels
    missing = [name for name in channels if name not in case.images]
    if missing:
        raise DataError(
            f"case {case.id} has no file for the channel {' and '.join(missing)}",
            do="see `medssl data check`",
        )
    volume = read_volume([case.images[name] for name in channels], spec.resample_channels)
    array = volume.array
    above = np.zeros(array.shape[1:], bool)
    for channel in array:
        above |= channel > np.nanmin(channel)
    box = [_extent(above, axis) for axis in range(3)]
    sizes, spacing = _turned(volume.geometry, box, orientation)
    body = array[array > AIR]
    ends = np.percentile(body, ENDS) if body.size else (AIR, AIR)
    inside, parts = np.empty(0, np.float32), dict[int, float]()
    places = dict[int, np.ndarray]()
    if case.label is not None:
        mask = read_mask(case.label, spec.labels, volume.geometry)
        if not mask.geometry.matches(volume.geometry):
            raise DataError(
                f"label {mask.source} does not lie on the grid of its image",
                do="see `medssl data check`",
            )
        inside = _drawn(array, np.flatnonzero(mask.array[0]))
        parts = small_parts(mask.array[0], spec.label_values[1:], volume.geometry.voxel)
        turned = mask.array[0]
        if orientation is not None:
            turned = mask.geometry.oriented(orientation)[1].apply(turned)
        places = places_of(turned, parts)
    body_ends = float(ends[0]), float(ends[1])
    return CaseFacts(sizes[0], spacing, sizes[1], body_ends, inside, parts, places)


def _extent(marked: np.ndarray, axis: int) -> int:
    """Voxels along an axis from the first marked one to the last; all where none is marked."""
    others = tuple(other for other in range(3) if other != axis)
    places = np.flatnonzero(marked.any(axis=others))
    return int(places[-1] - places[0]) + 1 if places.size else marked.shape[axis]


def _turned(
    grid: Geometry, box: Sequence[int], orientation: str | None
) -> tuple[tuple[Triple, Triple], Sides]:
    """Voxels of the scan and of its box, and the spacing, along axes of an orientation."""
    if orientation is None:
        return (grid.shape, (box[0], box[1], box[2])), grid.spacing
    turned, how = grid.oriented(orientation)
    x, y, z = (int(box[axis]) for axis in how.order)
    return (turned.shape, (x, y, z)), turned.spacing


def _drawn(array: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Intensities of all channels at some of these voxels."""
    if not places.size:
        return np.empty(0, np.float32)
    drawn = np.random.default_rng(SEED).choice(places, SAMPLES)
    found: np.ndarray = array.reshape(len(array), -1)[:, drawn].ravel().astype(np.float32)
    return found


def fingerprint_of(
    cases: Sequence[Case],
    spec: DataSpec,
    orientation: str | None,
    folder: Path,
    key: Callable[[Case], str],
    on_progress: Progress | None = None,
) -> Fingerprint:
    """What the cases are like; those that were looked at before are not read again.

    Args:
        folder: where it is kept.
        key: of a case, by the content of its files.

    Raises:
        DataError: cases cannot be read; the message is the first.
    """

    def facts(case: Case) -> CaseFacts:
        path = folder / f"{key(case)}-{orientation or 'file'}-{VERSION}.npz"
        known = _kept(path)
        if known is None:
            known = look_at(case, spec, orientation)
            _keep(path, known)
        return replace(known, patient=case.patient)  # files may be the same, and patients not

    found, errors = list[CaseFacts](), list[DataError]()
    with Workers(min(4, os.cpu_count() or 1)) as pool:
        looked = pool.map(lambda case: attempt(facts, case, case.id), cases)
        for number, one in enumerate(looked, start=1):
            if isinstance(one, DataError):
                errors.append(one)
            else:
                found.append(one)
            if on_progress is not None:
                on_progress(number, len(cases))
    refuse_cases(errors, spec)
    return Fingerprint(tuple(found))


def _keep(path: Path, facts: CaseFacts) -> None:
    with appearing(path) as beside:
        np.savez(
            beside,
            shape=facts.shape,
            spacing=facts.spacing,
            box=facts.box,
            body=facts.body,
            inside=facts.inside,
            values=list(facts.parts),
            across=list(facts.parts.values()),
            places=np.array(list(facts.places.values()), np.float32),
        )


def _kept(path: Path) -> CaseFacts | None:
    """What was kept of a case; None where nothing was, or it is damaged."""
    try:
        with np.load(path) as kept:
            return CaseFacts(
                tuple(kept["shape"].tolist()),
                tuple(kept["spacing"].tolist()),
                tuple(kept["box"].tolist()),
                tuple(kept["body"].tolist()),
                kept["inside"],
                dict(zip(kept["values"].tolist(), kept["across"].tolist(), strict=True)),
                dict(zip(kept["values"].tolist(), kept["places"], strict=True)),
            )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
