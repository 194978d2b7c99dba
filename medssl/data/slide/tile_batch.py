"""Batches of tiles of slides, for methods that learn without labels.

Legend: B tiles of a batch, n tiles of a slide, S pixels of a tile's side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor

from medssl.data.rest import NOTHING, Rest
from medssl.data.stream import SEED_WORDS
from medssl.errors import DataError


class TileSource(Protocol):
    """A slide whose tiles are read when they are needed."""

    @property
    def id(self) -> str:
        """Its name in messages."""

    @property
    def tiles(self) -> np.ndarray:
        """[n, S, S, 3] uint8 RGB, in memory or mapped from a file; n may be 0."""


@dataclass
class TileBatch:
    """Tiles, as a training step is given them.

    Attributes:
        image: [B, 3, S, S] uint8 RGB.
        ids: slide of each tile.
    """

    image: Tensor
    ids: tuple[str, ...]

    def to(self, device: torch.device) -> Self:
        """The same tiles on `device`."""
        return type(self)(self.image.to(device, non_blocking=True), self.ids)

    def damaged(self) -> tuple[str, ...]:
        """Always None: bytes are always finite."""
        return ()


class TileStream:
    """Tiles without end: permutations of all tiles of all slides, one after the other.

    Args:
        size: tiles per batch.
        per_source: at most so many tiles of each slide, drawn once; null: all of them.
        rest: what is done to a tile for each item.

    Raises:
        DataError: a slide's tiles are no RGB bytes or differ in size from the others', or there is
            no tile at all.
    """

    def __init__(
        self,
        sources: Sequence[TileSource],
        size: int,
        seed: int,
        per_source: int | None = None,
        rest: Rest = NOTHING,
    ) -> None:
        self._sources, self._size, self._seed, self._rest = sources, size, seed, rest
        _refuse_mixed(sources)
        self._places = _choose([len(source.tiles) for source in sources], per_source, seed)
        if len(self._places) == 0:
            raise DataError("there are no tiles to learn from", do="look at the tiling's settings")

    def __len__(self) -> int:
        """Tiles that are drawn before one comes again."""
        return len(self._places)

    def batch(self, number: int) -> TileBatch:
        """Batch `number`, counted from 0; a function of (seed, number)."""
        images, ids = [], []
        for running in range(number * self._size, (number + 1) * self._size):
            epoch, place = divmod(running, len(self._places))
            order = _permutation(self._seed, epoch, len(self._places))
            which, tile = self._places[order[place]]
            source = self._sources[which]
            image = source.tiles[tile].transpose(2, 0, 1)
            if self._rest:
                by = self._seed, SEED_WORDS["tiles"], 2, running
                image = self._rest.in_bytes(image, source.id, *by)
            images.append(image)
            ids.append(source.id)
        return TileBatch(torch.from_numpy(np.stack(images)), tuple(ids))


def _refuse_mixed(sources: Sequence[TileSource]) -> None:
    sides = set()
    for source in sources:
        tiles = source.tiles
        if tiles.dtype != np.uint8 or tiles.ndim != 4 or tiles.shape[3] != 3:
            raise DataError(
                f"the tiles of {source.id} are not RGB images of bytes",
                f"found an array of {tiles.dtype} and shape {tiles.shape}",
            )
        sides.add(tiles.shape[1:3])
    if len(sides) > 1:
        raise DataError(
            "the slides' tiles differ in size",
            f"found {' and '.join(f'{high} x {wide}' for high, wide in sorted(sides))} pixels",
            "tile all slides with the same settings",
        )


def _choose(counts: Sequence[int], per_source: int | None, seed: int) -> np.ndarray:
    """[tiles, 2] int64: slide and tile of each that is drawn from."""
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    for which, count in enumerate(counts):
        chosen = np.arange(count)
        if per_source is not None and count > per_source:
            rng = np.random.default_rng([seed, SEED_WORDS["tiles"], 1, which])
            chosen = np.sort(rng.choice(count, per_source, replace=False))
        pairs.append(np.column_stack([np.full(len(chosen), which), chosen]))
    return np.concatenate(pairs)


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    """Order of an epoch; kept, as a data set may have millions of tiles."""
    return np.random.default_rng([seed, SEED_WORDS["tiles"], 0, epoch]).permutation(count)
