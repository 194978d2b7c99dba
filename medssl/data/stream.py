"""Batches of patches: every batch is a function of its number, so a stream resumes anywhere.

No state is kept and no two workers repeat: item `k` of a stream is drawn by a generator seeded with
(seed, stream, k), whoever draws it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import starmap
from typing import Protocol

import numpy as np
import torch

from medssl.data.batch import Batch, Stream
from medssl.data.changes import Box, Boxes, Changes
from medssl.data.foreground import Aim, By, forced
from medssl.data.labels import IGNORED
from medssl.data.patches import PatchSampler, Triple, cut, padding
from medssl.data.pseudo_foreground import PseudoForeground
from medssl.data.rest import NOTHING, Rest
from medssl.errors import DataError
from medssl.transforms.chain import Augment

SEED_WORDS = {
    "labelled": 1,
    "unlabelled": 2,
    "pairs": 3,
    "bags": 4,
    "tiles": 5,
    "scans": 6,
    "joint": 7,
}


class PatchSource(Protocol):
    """A case whose voxels can be cut without reading the whole volume."""

    @property
    def id(self) -> str:
        """Its name in messages."""

    @property
    def image(self) -> np.ndarray:
        """[C, X, Y, Z] float."""

    @property
    def mask(self) -> np.ndarray | None:
        """[X, Y, Z] uint8 class indices, or None without a label."""

    @property
    def floor(self) -> float:
        """The intensity that padding takes."""

    @property
    def class_voxels(self) -> np.ndarray:
        """Where its classes lie, see `medssl.data.foreground`; of labelled cases."""

    @property
    def partial(self) -> bool:
        """Whether some voxels of its mask are ignored."""

    @property
    def outlined(self) -> tuple[bool, ...] | None:
        """Whether its mask outlines each class, background first; None: all of them."""


@dataclass(frozen=True)
class PatchStream:
    """Batches from one set of cases.

    Attributes:
        kind: `labelled` streams visit each case once per epoch and drop an odd rest;
            `unlabelled` streams chain permutations without end and read no masks.
        augment: the random changes.
        size: items per batch.
        on_device: leave the random changes to who brings a batch to its device.
        foreground: share of the patches that hold foreground, see `medssl.data.foreground`.
        foreground_by: how what these are centred on is drawn.
        pseudo: what is taken for foreground in unlabelled cases; None: the masks say it.
        rest: what is done to a whole case for each item, before anything is cut.
    """

    kind: Stream
    cases: Sequence[PatchSource]
    sampler: PatchSampler
    augment: Augment
    size: int
    seed: int
    on_device: bool = False
    foreground: float = 0.0
    foreground_by: By = "class"
    pseudo: PseudoForeground | None = None
    rest: Rest = NOTHING

    @cached_property
    def changes(self) -> Changes:
        """What is done to each item.

        Raises:
            UsageError: a transform refuses its arguments.
        """
        return Changes(self.augment, self.sampler.patch)

    def batch(self, number: int) -> Batch | Boxes:
        """Batch `number`, counted from 0."""
        return self.part_of(number, slice(None))

    def part_of(self, number: int, part: slice) -> Batch | Boxes:
        """Some items of that batch, as they are in it."""
        positions = starmap(self._aimed, self._positions(number)[part])
        boxes = Boxes(tuple(starmap(self._box, positions)), self.changes)
        return boxes if self.on_device else boxes.to(torch.device("cpu"))

    def _positions(self, number: int) -> list[tuple[int, int]]:
        """(running number of the item, index of its case) of each item of a batch."""
        count = len(self.cases)
        if self.kind == "labelled" and count >= self.size:
            epoch, within = divmod(number, count // self.size)
            order = self._order(epoch)[within * self.size :][: self.size].tolist()
        else:
            order = chained(number, self.size, count, self._seeds)
        return [(number * self.size + offset, case) for offset, case in enumerate(order)]

    @cached_property
    def _aim(self) -> Aim:
        return Aim(self.cases, self.foreground_by)

    def _aimed(self, item: int, index: int) -> tuple[int, int, Triple | None]:
        """With the voxel that the item is centred on, and the case that this is of; None: none."""
        rng = np.random.default_rng([self.seed, SEED_WORDS[self.kind], 3, item])
        if item % self.size not in forced(self.size, self.foreground):
            partial = self.kind == "labelled" and self.cases[index].partial
            return item, index, self._aim.draw_known(index, rng) if partial else None
        aim = self._aim if self.pseudo is None else self.pseudo.aim(item // self.size)
        return (item, index, None) if aim is None else (item, *aim.draw(index, rng))

    @property
    def _seeds(self) -> list[int]:
        return [self.seed, SEED_WORDS[self.kind], 0]

    def _order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([*self._seeds, epoch]).permutation(len(self.cases))

    def _box(self, item: int, index: int, voxel: Triple | None) -> Box:
        """The box around all views of an item, large enough for its random changes."""
        case, patch, changes = self.cases[index], self.sampler.patch, self.changes
        seeds = changes.seeds(self.seed, SEED_WORDS[self.kind], 2, item)
        pose = changes.pose(seeds)
        stored, floor = case.image, case.floor
        if self.rest:
            stored = self.rest(stored, case.id, self.seed, SEED_WORDS[self.kind], 4, item)
            floor = float(stored.min())
        image = pose.apply(stored)
        pads = padding(image.shape[1:], patch)
        posed = tuple(n + a + b for n, (a, b) in zip(image.shape[1:], pads, strict=True))
        rng = np.random.default_rng([self.seed, SEED_WORDS[self.kind], 1, item])
        centre = None
        if voxel is not None:
            x, y, z = pose.place(voxel, stored.shape[1:])
            centre = x + pads[0][0], y + pads[1][0], z + pads[2][0]
        starts = self.sampler.draw(posed, rng, centre)
        lows = [min(at) for at in zip(*starts, strict=True)]
        highs = [max(at) + side for at, side in zip(zip(*starts, strict=True), patch, strict=True)]
        size = tuple(high - low for low, high in zip(lows, highs, strict=True))
        planar = image.shape[3] == patch[2] == 1
        sizes = changes.sizes(seeds, size, planar)
        at = [
            low - (have - n) // 2 - before
            for low, have, n, (before, _) in zip(lows, sizes[0], size, pads, strict=True)
        ]
        mask, partial = None, False
        if self.kind == "labelled":
            whole, partial = pose.apply(_mask(case))[None], case.partial
            fill = IGNORED if partial else 0
            mask = torch.from_numpy(cut(whole, at, sizes[0], fill))
        return Box(
            torch.from_numpy(cut(image, at, sizes[0], floor)),
            mask,
            sizes,
            tuple(_relative(start, lows) for start in starts),
            seeds,
            starts,
            case.id,
            partial,
            case.outlined if self.kind == "labelled" else None,
        )


def _relative(start: Triple, to: Sequence[int]) -> Triple:
    x, y, z = (one - low for one, low in zip(start, to, strict=True))
    return x, y, z


def chained(number: int, size: int, count: int, seeds: Sequence[int]) -> list[int]:
    """Items of batch `number` where permutations of `count` items follow each other without end."""
    places = range(number * size, (number + 1) * size)
    orders = {
        epoch: np.random.default_rng([*seeds, epoch]).permutation(count)
        for epoch in {place // count for place in places}
    }
    return [int(orders[place // count][place % count]) for place in places]


def _mask(case: PatchSource) -> np.ndarray:
    mask = case.mask
    if mask is None:
        raise DataError(f"case {case.id} has no label but is to be learnt from as labelled")
    return mask
