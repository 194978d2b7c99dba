"""Which labelled patches hold foreground: voxels of each class are found once, and aimed at.

Source: sheet of planning, sections 3.3 and 5. As in nnU-Net the last patches of every batch are
centred on a voxel of a class, and all others, where voxels of a mask are ignored, on one that is
not. Other than there, rare classes may be drawn as often as others, and a patch stays inside the
volume at its far border too.

Legend: N voxels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
from numpy.random import Generator

from medssl.data.labels import IGNORED

MOST = 10_000
"""Voxels of a class that are kept, where these are more than a hundredth of it."""

SEED = 1234

By = Literal["class", "case"]

Voxel = tuple[int, int, int]


class Marked(Protocol):
    """A case that knows where its classes lie."""

    @property
    def class_voxels(self) -> np.ndarray:
        """[N, 4] uint16, as `find_class_voxels` gives them."""


def is_marked(mask: np.ndarray) -> bool:
    """Whether a mask of class indices marks a voxel of any class but the background."""
    return bool(((mask > 0) & (mask < IGNORED)).any())


def where_known(predicted: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Class indices [X, Y, Z] of both, background where the truth is ignored; copies."""
    ignored = truth == IGNORED
    return np.where(ignored, 0, predicted), np.where(ignored, 0, truth)


def find_class_voxels(mask: np.ndarray, most: int = MOST) -> np.ndarray:
    """Some voxels of every class but the background, of a mask [X, Y, Z] of class indices.

    All of a class with up to `most` voxels, else `most` or a hundredth, whichever are more, drawn
    without replacement by a fixed seed. Of a mask with ignored voxels also, in the same way, some
    of all those that are not ignored; their class is `IGNORED`.

    Returns:
        [N, 4] uint16: class, x, y, z; sorted.
    """
    rng = np.random.default_rng(SEED)
    flat = mask.reshape(-1)
    found = [np.empty((0, 4), np.uint16)]
    for index in np.bincount(flat, minlength=1).nonzero()[0]:
        if index == 0:
            continue
        places = np.flatnonzero(flat != IGNORED if index == IGNORED else flat == index)
        count = max(min(most, len(places)), -(-len(places) // 100))
        chosen = np.sort(rng.choice(places, count, replace=False))
        voxels = np.unravel_index(chosen, mask.shape)
        found.append(np.stack([np.full(count, index), *voxels], axis=1).astype(np.uint16))
    return np.concatenate(found)


def forced(size: int, share: float) -> range:
    """The places in a batch of `size` whose patches hold foreground; the last ones, as in nnU-Net.

    Those from round(size * (1 - share)) on, so with a share of 0.33 one of two and one of three.
    """
    return range(round(size * (1 - share)), size)


@dataclass(frozen=True)
class Aim:
    """Draws what a patch is centred on.

    Attributes:
        cases: those that may be drawn.
        by: "class": a class of any case, then a case that has it; "case": a class of the case that
            is given, as in nnU-Net. Then in either a voxel of the class.
    """

    cases: Sequence[Marked]
    by: By

    def draw(self, case: int, rng: Generator) -> tuple[int, Voxel | None]:
        """The case of a patch and the voxel in its middle; None where there is no foreground.

        Args:
            case: index of the one whose turn it is.
        """
        if self.by == "class":
            if not self._holders:
                return case, None
            index = _one_of(sorted(self._holders), rng)
            case = _one_of(self._holders[index], rng)
        elif not self._classes(case):
            return case, None
        else:
            index = _one_of(self._classes(case), rng)
        return case, self._voxel(case, index, rng)

    def draw_known(self, case: int, rng: Generator) -> Voxel:
        """A voxel of a partial case that is not ignored; `case` is its index."""
        return self._voxel(case, IGNORED, rng)

    def _voxel(self, case: int, index: int, rng: Generator) -> Voxel:
        """One of those kept of a class."""
        row = _one_of(self._places[case][index], rng)
        x, y, z = map(int, self.cases[case].class_voxels[row, 1:])
        return x, y, z

    def _classes(self, case: int) -> list[int]:
        return sorted(self._places[case].keys() - {IGNORED})

    @cached_property
    def _places(self) -> list[dict[int, range]]:
        """Rows of `class_voxels` of each class, for every case."""
        found = []
        for case in self.cases:
            classes, first, count = np.unique(
                case.class_voxels[:, 0], return_index=True, return_counts=True
            )
            rows = zip(classes.tolist(), first.tolist(), count.tolist(), strict=True)
            found.append({index: range(start, start + n) for index, start, n in rows})
        return found

    @cached_property
    def _holders(self) -> dict[int, list[int]]:
        """The cases that have a class, by class."""
        found: dict[int, list[int]] = {}
        for case in range(len(self.cases)):
            for index in self._classes(case):
                found.setdefault(index, []).append(case)
        return found


def _one_of(values: Sequence[int], rng: Generator) -> int:
    return values[int(rng.integers(len(values)))]
