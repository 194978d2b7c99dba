"""Sessions of single-channel scans for pre-training, from the cases of several data sets.

Scans of a session that lie on one grid, once oriented and resampled as preprocessing asks, form a
group: only within it can two scans be a pair. Scans on other grids serve as single ones.

Source: the sheet of modality-invariant learning, section 13 (sessions whose scans are not on one
grid: refuse the pair, count it).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np

from medssl.data.cache import CachedCase, CaseCache
from medssl.data.geometry import Geometry
from medssl.data.refusal import attempt, refuse_cases
from medssl.data.scan.contrasts import Contrasts, contrast_of, name_scans
from medssl.data.scan.settings import PairSettings
from medssl.data.spec import Case, DataSpec
from medssl.data.volume import read_geometry
from medssl.data.workers import Workers
from medssl.errors import DataError, UsageError
from medssl.transforms.chain import Chain

Pair = tuple[int, int]


@dataclass(frozen=True)
class ScanGroup:
    """Scans of one session on one grid.

    Attributes:
        id: of the session, "data set/case"; groups of one session share it.
        patient: from 1, equal exactly for one patient, over all data sets.
        scans: names, as in `Case.images`.
        contrasts: index of each scan's contrast in `Sessions.contrasts`; -1 where unknown.
        places: prepared case and channel of each scan.
    """

    id: str
    patient: int
    scans: tuple[str, ...]
    contrasts: tuple[int, ...]
    places: tuple[tuple[CachedCase, int], ...]

    def volume(self, scan: int) -> np.ndarray:
        """[X, Y, Z] of one scan, memory-mapped; float16, or float32 where that does not hold it."""
        case, channel = self.places[scan]
        volume: np.ndarray = case.image[channel]
        return volume

    def pairs(self, contrasts_differ: bool) -> tuple[Pair, ...]:
        """Every two scans of known contrasts that may be a pair, the earlier first."""
        return tuple(
            (one, other)
            for one, other in combinations(range(len(self.scans)), 2)
            if _paired(self.contrasts[one], self.contrasts[other], contrasts_differ)
        )


@dataclass(frozen=True)
class Apart:
    """Two scans of one session that cannot be a pair, as their grids differ in `why`."""

    files: tuple[Path, Path]
    contrasts: Pair
    why: str


@dataclass(frozen=True)
class Sessions:
    """What pre-training learns from.

    Attributes:
        groups: in the order of data sets and cases.
        contrasts: names of the known contrasts.
        patients: "data set/patient" by number; number 1 comes first.
        apart: every two scans that are no pair only because their grids differ.
    """

    groups: tuple[ScanGroup, ...]
    contrasts: tuple[str, ...]
    patients: tuple[str, ...]
    apart: tuple[Apart, ...]

    def dropped(self, pairs: PairSettings) -> str:
        """How many pairs were dropped and why, as one sentence; empty if none was."""
        lost = [a for a in self.apart if _paired(*a.contrasts, pairs.contrasts_differ)]
        if not lost:
            return ""
        kept = sum(len(group.pairs(pairs.contrasts_differ)) for group in self.groups)
        one, other = lost[0].files
        return (
            f"{len(lost)} of {kept + len(lost)} pairs are left out, as their scans lie on "
            f"different grids; first {other} and {one}: {lost[0].why}"
        )

    def require_pairs(self, pairs: PairSettings) -> None:
        """Refuse scans from which contrastive learning cannot learn.

        Raises:
            DataError: fewer than two patients have a pair.
        """
        paired = {g.patient for g in self.groups if g.pairs(pairs.contrasts_differ)}
        if pairs.kind == "same_scan" and not paired:
            paired = {group.patient for group in self.groups}
        if len(paired) > 1:
            return
        what = "two scans of different contrasts" if pairs.contrasts_differ else "two scans"
        raise DataError(
            "contrastive learning needs pairs of at least two patients and there are "
            f"{'none' if not paired else 'only those of one'}",
            self.dropped(pairs) or f"a pair is {what} of one session, on one grid",
            "add patients, or choose method.arm=mim, which learns from single scans",
        )


def prepare_sessions(
    sources: Sequence[tuple[DataSpec, Sequence[Case]]],
    chain: Chain,
    root: Path,
    workers: int = 2,
    on_progress: Callable[[int, int], None] | None = None,
) -> Sessions:
    """Every scan of the cases, prepared in the cache under `root`.

    Cases of one patient and one named session are one session. Scans whose files have different
    grids but agree after preprocessing are one group; they are then not cropped, because boxes of
    different grids would not agree.

    Raises:
        DataError: there is no scan, or a file is missing, damaged, of one value everywhere or no
            single-channel volume; all are looked at, the message names the first.
        UsageError: a data set is named twice, or one alias has two meanings.
    """
    names = [spec.name for spec, _ in sources]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UsageError(f"the data set {twice[0]} is named twice", do="name it once")
    contrasts = Contrasts(spec for spec, _ in sources)
    sessions = [(spec, case) for spec, cases in sources for case in _merged(spec, cases)]
    patients = dict.fromkeys(_patient(spec, case) for spec, case in sessions)
    numbers = {name: number for number, name in enumerate(patients, start=1)}
    groups: list[ScanGroup] = []
    apart: list[Apart] = []
    wrong: list[tuple[DataSpec, DataError]] = []
    with Workers(workers) as pool:
        work = partial(_prepared, contrasts=contrasts, chain=chain, root=root)
        done = pool.map(lambda session: attempt(work, session, session[1].id), sessions)
        for count, ((spec, case), prepared) in enumerate(zip(sessions, done, strict=True), 1):
            if isinstance(prepared, DataError):
                wrong.append((spec, prepared))
            else:
                number = numbers[_patient(spec, case)]
                groups += [replace(group, patient=number) for group in prepared[0]]
                apart += prepared[1]
            if on_progress is not None:
                on_progress(count, len(sessions))
    if wrong:
        refuse_cases([error for _, error in wrong], wrong[0][0])
    if not groups:
        raise DataError(f"{' and '.join(names)} hold no scan to learn from", do="name other data")
    return Sessions(tuple(groups), contrasts.names, tuple(patients), tuple(apart))


def _paired(one: int, other: int, contrasts_differ: bool) -> bool:
    """Whether scans of two contrasts may be a pair; an unknown contrast never is in one."""
    return min(one, other) >= 0 and not (contrasts_differ and one == other)


def _patient(spec: DataSpec, case: Case) -> str:
    return f"{spec.name}/{case.patient}"


def sessions_of(cases: Sequence[Case]) -> list[list[Case]]:
    """The cases of a data set by session; a case without a named one is a session of its own."""
    sessions: dict[tuple[str, ...], list[Case]] = {}
    for case in cases:
        key = (case.patient, case.session) if case.session else (case.id,)
        sessions.setdefault(key, []).append(case)
    return list(sessions.values())


def _merged(spec: DataSpec, cases: Sequence[Case]) -> Iterator[Case]:
    """One case per session, named after its first."""
    for parts in sessions_of(cases):
        if len(parts) == 1:
            yield parts[0]
        else:
            found = [(contrast_of(n), file) for case in parts for n, file in case.images.items()]
            yield replace(parts[0], images=name_scans(spec, found))


def _prepared(
    session: tuple[DataSpec, Case], contrasts: Contrasts, chain: Chain, root: Path
) -> tuple[list[ScanGroup], list[Apart]]:
    """The groups of a session, their patient's number still to come, and what keeps them apart."""
    from medssl.transforms.compose import grid_after  # imports MONAI

    spec, case = session
    files = {path: read_geometry(path) for path in case.images.values()}
    by_target: list[tuple[Geometry, list[str]]] = []
    # Scans of one file follow each other, as its channels do.
    for path, grid in files.items():
        target = grid_after(chain.uncropped, grid)
        names = next((names for other, names in by_target if other.matches(target)), None)
        if names is None:
            names = []
            by_target.append((target, names))
        names += [name for name, own in case.images.items() if own == path]
    groups = []
    for _, names in by_target:
        places = tuple(_places(spec, case, names, files, chain, root))
        indices = tuple(contrasts.index(name) for name in names)
        groups.append(ScanGroup(f"{spec.name}/{case.id}", 0, tuple(names), indices, places))
    apart = [
        Apart(
            (case.images[one], case.images[other]),
            (contrasts.index(one), contrasts.index(other)),
            second.difference(first),
        )
        for (first, names), (second, others) in combinations(by_target, 2)
        for one in names
        for other in others
    ]
    return groups, apart


def _places(
    spec: DataSpec,
    case: Case,
    names: Sequence[str],
    files: dict[Path, Geometry],
    chain: Chain,
    root: Path,
) -> Iterator[tuple[CachedCase, int]]:
    """Prepared case and channel of each scan, in order; scans of one file grid are one case."""
    by_source: list[tuple[Geometry, list[str]]] = []
    for name in names:
        grid = files[case.images[name]]
        if by_source and by_source[-1][0].matches(grid):
            by_source[-1][1].append(name)
        else:
            by_source.append((grid, [name]))
    if len(by_source) > 1:
        chain = chain.uncropped  # boxes of different grids would not agree
    for _, together in by_source:
        images = {name: case.images[name] for name in together}
        alone = spec.model_copy(update={"channels": tuple(together), "labels": ()})
        cached = CaseCache(root, alone, chain).open(replace(case, images=images, label=None))
        if len(cached.image) != len(together):
            raise DataError(
                f"{images[together[0]]} has {len(cached.image)} channels instead of 1",
                "pre-training learns from single scans",
                "split the file, or leave it out",
            )
        yield from ((cached, channel) for channel in range(len(together)))
