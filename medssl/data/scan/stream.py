"""Streams of scans for pre-training: pairs of one session, and single ones.

A batch is a function of its number, as in `medssl.data.stream`. Every unit (a session, a pair or a
scan) is met once before any is met again.

Source: the sheet of modality-invariant learning, sections 5, 9 and 13.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import torch

from medssl.data.rest import NOTHING, Rest
from medssl.data.scan.batch import ScanBatch
from medssl.data.scan.sessions import ScanGroup
from medssl.data.scan.settings import AffineSettings, PairSettings
from medssl.data.scan.window import Triple, Window, cut, cut_sources, draw_window
from medssl.data.stream import SEED_WORDS
from medssl.errors import DataError

Choice = tuple[ScanGroup, tuple[int, ...]]
"""Scans of an item: both of a pair, in order, or one."""


def pair_units(groups: Sequence[ScanGroup], settings: PairSettings) -> list[list[Choice]]:
    """Units that are drawn equally often, each with the ordered pairs from which one is drawn.

    With kind "same_scan" a pair is one scan twice. Only scans that could pair with another are
    taken, and within a session each as often as it would be in a pair; where none could, as of
    pictures and of single contrasts, all are.
    """
    if settings.kind == "same_scan" and not any(
        one.pairs(settings.contrasts_differ) for one in groups
    ):
        return [[(group, (scan, scan))] for group in groups for scan in range(len(group.scans))]
    both: list[list[Choice]]
    sessions: dict[str, list[Choice]] = {}
    units: list[list[Choice]] = []
    for group in groups:
        found = group.pairs(settings.contrasts_differ)
        if settings.kind == "same_scan":
            both = [[(group, (scan, scan)) for scan in pair] for pair in found]
            singles = sorted({scan for pair in found for scan in pair})
            units += [[(group, (scan, scan))] for scan in singles]
        else:
            both = [[(group, pair), (group, pair[::-1])] for pair in found]
            units += both
        sessions.setdefault(group.id, []).extend(choice for pair in both for choice in pair)
    if settings.sampler == "session":
        return [choices for choices in sessions.values() if choices]
    return units


def single_scans(groups: Sequence[ScanGroup], pairs: PairSettings | None) -> list[Choice]:
    """The scans that are seen alone: those that no pair can hold; all where `pairs` is None."""
    found: list[Choice] = []
    for group in groups:
        paired = set() if pairs is None else set(sum(group.pairs(pairs.contrasts_differ), ()))
        found += [(group, (scan,)) for scan in range(len(group.scans)) if scan not in paired]
    return found


class WindowStream:
    """Batches of windows of chosen scans."""

    def __init__(
        self,
        kind: Literal["pairs", "scans"],
        units: Sequence[Sequence[Choice]],
        affine: AffineSettings,
        patch: Triple,
        size: int,
        seed: int,
        rest: Rest = NOTHING,
    ) -> None:
        self._units, self._rest = units, rest
        self._affine, self._patch, self._size = affine, patch, size
        self._flips = affine.flip_pairs if kind == "pairs" else affine.flip_scans
        self._seeds = (seed, SEED_WORDS[kind])

    def batch(self, number: int) -> ScanBatch:
        """Batch `number`, counted from 0."""
        items = range(number * self._size, (number + 1) * self._size)
        chosen, windows = zip(*(self._item(item) for item in items), strict=True)
        if self._affine.rotation or self._affine.scale or self._affine.shear:
            source, affine = cut_sources(windows, self._patch, self._affine.about)
        else:
            source, affine = cut(windows, self._patch), None
        contrast = [[group.contrasts[scan] for scan in scans] for group, scans in chosen]
        return ScanBatch(
            source=source,
            affine=affine,
            patch=self._patch,
            patient=torch.tensor([group.patient for group, _ in chosen]),
            contrast=torch.tensor(contrast),
            ids=tuple(group.id for group, _ in chosen),
        )

    def _item(self, item: int) -> tuple[Choice, Window]:
        epoch, place = divmod(item, len(self._units))
        unit = self._units[_order(*self._seeds, epoch, len(self._units))[place]]
        rng = np.random.default_rng([*self._seeds, 1, item])
        group, scans = unit[int(rng.integers(len(unit)))]
        read = {scan: self._read(group, scan, item) for scan in scans}
        volumes = [read[scan] for scan in scans]
        window = draw_window(volumes, self._flips, self._affine, self._patch, rng)
        return (group, scans), window

    def _read(self, group: ScanGroup, scan: int, item: int) -> np.ndarray:
        """[X, Y, Z] of a scan, as an item sees it."""
        volume = group.volume(scan)
        if not self._rest:
            return volume
        done: np.ndarray = self._rest(volume[None], group.id, *self._seeds, 2, item, scan)[0]
        return done


class PairStream(WindowStream):
    """Two scans of a session per item, or one twice, as `pairs` says."""

    def __init__(
        self,
        groups: Sequence[ScanGroup],
        pairs: PairSettings,
        affine: AffineSettings,
        patch: Triple,
        size: int,
        seed: int,
        rest: Rest = NOTHING,
    ) -> None:
        units = pair_units(groups, pairs)
        if not units:
            raise DataError(
                "no session has two scans that can be a pair",
                do="name a data set with such sessions, or a method that learns from single scans",
            )
        super().__init__("pairs", units, affine, patch, size, seed, rest)


class ScanStream(WindowStream):
    """One scan per item: of those that no pair may have, or of all where there are no pairs."""

    def __init__(
        self,
        groups: Sequence[ScanGroup],
        pairs: PairSettings | None,
        affine: AffineSettings,
        patch: Triple,
        size: int,
        seed: int,
        rest: Rest = NOTHING,
    ) -> None:
        units = [[choice] for choice in single_scans(groups, pairs)]
        if not units:
            raise DataError(
                "no scan is left to be seen alone",
                "every scan can be one of a pair",
                "name a data set with single scans",
            )
        super().__init__("scans", units, affine, patch, size, seed, rest)


@lru_cache(maxsize=4)
def _order(seed: int, word: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, word, 0, epoch]).permutation(count)
