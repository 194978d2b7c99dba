"""Batches of patches: every batch is a function of its number, so a stream resumes anywhere.

No state is kept and no two workers repeat: item `k` of a stream is drawn by a generator seeded with
(seed, stream, k), whoever draws it.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

import numpy as np
import torch

from medssl.data.batch import Batch, Stream, TrainBatch
from medssl.data.patches import PatchSampler, draw_pose, padding
from medssl.errors import DataError
from medssl.settings import AugmentSettings

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


@dataclass(frozen=True)
class PatchStream:
    """Batches from one set of cases.

    Attributes:
        kind: `labelled` streams visit each case once per epoch and drop an odd rest;
            `unlabelled` streams chain permutations without end and read no masks.
        size: items per batch.
    """

    kind: Stream
    cases: Sequence[PatchSource]
    sampler: PatchSampler
    augment: AugmentSettings
    size: int
    seed: int

    def batch(self, number: int) -> Batch:
        """Batch `number`, counted from 0."""
        items = [self._item(position) for position in self._positions(number)]
        masks = [mask for _, mask, _, _ in items if mask is not None]
        return Batch(
            image=torch.from_numpy(np.stack([item[0] for item in items])),
            label=torch.from_numpy(np.stack(masks)) if masks else None,
            start=torch.tensor([item[2] for item in items]),
            ids=tuple(item[3] for item in items),
        )

    def _positions(self, number: int) -> list[tuple[int, int]]:
        """(running number of the item, index of its case) of each item of a batch."""
        count = len(self.cases)
        if self.kind == "labelled" and count >= self.size:
            epoch, within = divmod(number, count // self.size)
            order = self._order(epoch)[within * self.size :][: self.size].tolist()
        else:
            order = chained(number, self.size, count, self._seeds)
        return [(number * self.size + offset, case) for offset, case in enumerate(order)]

    @property
    def _seeds(self) -> list[int]:
        return [self.seed, SEED_WORDS[self.kind], 0]

    def _order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([*self._seeds, epoch]).permutation(len(self.cases))

    def _item(
        self, position: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray | None, tuple[tuple[int, int, int], ...], str]:
        item, index = position
        case = self.cases[index]
        rng = np.random.default_rng([self.seed, SEED_WORDS[self.kind], 1, item])
        pose = draw_pose(self.augment, rng)
        patch = self.sampler.patch
        image = pose.apply(case.image)
        pads = padding(image.shape[1:], patch)
        posed = tuple(n + a + b for n, (a, b) in zip(image.shape[1:], pads, strict=True))
        starts = self.sampler.draw(posed, rng)
        views = np.stack([cut(image, start, patch, pads, case.floor) for start in starts])
        mask = None
        if self.kind == "labelled":
            mask = cut(pose.apply(_mask(case))[None], starts[0], patch, pads, 0)[0]
        return views.astype(np.float32, copy=False), mask, starts, case.id


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


def cut(
    volume: np.ndarray,
    start: tuple[int, int, int],
    patch: tuple[int, int, int],
    pads: tuple[tuple[int, int], ...],
    fill: float,
) -> np.ndarray:
    """Patch [C, *patch] at `start` of the padded volume [C, X, Y, Z]; reads only what it needs."""
    target = np.full((volume.shape[0], *patch), fill, dtype=volume.dtype)
    source, place = [slice(None)], [slice(None)]
    for begin, side, (before, _), length in zip(start, patch, pads, volume.shape[1:], strict=True):
        low, high = max(begin - before, 0), min(begin - before + side, length)
        source.append(slice(low, high))
        place.append(slice(low - (begin - before), high - (begin - before)))
    target[tuple(place)] = volume[tuple(source)]
    return target


class BatchStream(Protocol):
    """Batches by number."""

    def batch(self, number: int) -> TrainBatch:
        """Batch `number`, counted from 0; equal numbers give equal batches."""


class Prefetch:
    """Draws the next batch of every stream in a thread while the present one trains.

    Attributes:
        waited: seconds that training stood still for data.
    """

    def __init__(self, streams: Mapping[str, BatchStream], first: int) -> None:
        self._streams = streams
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._next: Future[dict[str, TrainBatch]] = self._pool.submit(self._draw, first)
        self.waited = 0.0

    def _draw(self, number: int) -> dict[str, TrainBatch]:
        return {name: stream.batch(number) for name, stream in self._streams.items()}

    def take(self, number: int) -> dict[str, TrainBatch]:
        """Batch `number` of every stream; batch `number + 1` starts to be drawn."""
        begin = perf_counter()
        batches = self._next.result()
        self.waited += perf_counter() - begin
        self._next = self._pool.submit(self._draw, number + 1)
        return batches

    def close(self) -> None:
        """Stop drawing."""
        self._pool.shutdown(wait=True, cancel_futures=True)
