"""Bags of instances: a slide and its patches, or a row group of a classical set.

Legend: N instances, E features, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor

from medssl.data.stream import SEED_WORDS


class BagSource(Protocol):
    """A bag whose features are read when they are needed."""

    @property
    def id(self) -> str:
        """Its name; never a patient's."""

    @property
    def label(self) -> int | None:
        """Class index, or None without a label."""

    @property
    def features(self) -> np.ndarray:
        """[N, E] float16 or float32; N is at least 1."""


@dataclass(frozen=True)
class Bag:
    """A bag in memory.

    Attributes:
        patient: what splits keep together.
        features: [N, E] float.
        instances: [N] bool, which of them make the bag positive, or None where nobody said.
    """

    id: str
    patient: str
    label: int | None
    features: np.ndarray
    instances: np.ndarray | None = None


@dataclass
class BagBatch:
    """One bag, as a training step is given it.

    Attributes:
        features: [N, E] float32.
        label: int64 scalar, the class index.
        ids: the bag's name alone.
        truth: the class index as the host knows it, wherever `label` is; None: read from it.
    """

    features: Tensor
    label: Tensor
    ids: tuple[str, ...]
    truth: int | None = None

    def __post_init__(self) -> None:
        self.truth = int(self.label) if self.truth is None else self.truth

    def to(self, device: torch.device) -> Self:
        """The same bag on `device`."""
        return type(self)(
            self.features.to(device, non_blocking=True),
            self.label.to(device, non_blocking=True),
            self.ids,
            self.truth,
        )

    def damaged(self) -> tuple[str, ...]:
        """The bag, if one of its features is not finite."""
        return () if bool(self.features.isfinite().all()) else self.ids


@dataclass
class Bags:
    """Several bags, each of which a method is given by itself.

    Attributes:
        pieces: the bags.
        numbers: which bags of the batch they are, from 0.
        of: bags of the whole batch.
    """

    pieces: tuple[BagBatch, ...]
    numbers: tuple[int, ...]
    of: int

    @property
    def ids(self) -> tuple[str, ...]:
        """The bags' names."""
        return tuple(bag.ids[0] for bag in self.pieces)

    def to(self, device: torch.device) -> Self:
        """The same bags on `device`."""
        return type(self)(tuple(bag.to(device) for bag in self.pieces), self.numbers, self.of)

    def damaged(self) -> tuple[str, ...]:
        """The bags with features that are not finite."""
        return tuple(name for bag in self.pieces for name in bag.damaged())


@dataclass(frozen=True)
class BagStream:
    """Every bag once per epoch, in an order drawn from (seed, epoch).

    The last batch of an epoch may be smaller.

    Attributes:
        size: bags of a batch.
    """

    bags: Sequence[BagSource]
    seed: int
    size: int = 1

    def batch(self, number: int) -> BagBatch | Bags:
        """Batch `number`, counted from 0 over all epochs; of one bag the bag itself."""
        return self._bag(number) if self.size == 1 else self.pieces(number, slice(None))

    def pieces(self, number: int, part: slice) -> Bags:
        """The bags of batch `number` in the slice `part`, such as one process's share."""
        epoch, place = divmod(number, -(-len(self.bags) // self.size))
        rest = len(self.bags) - place * self.size
        numbers = range(min(self.size, rest))[part]
        first = epoch * len(self.bags) + place * self.size
        return Bags(
            tuple(self._bag(first + one) for one in numbers), tuple(numbers), min(self.size, rest)
        )

    def _bag(self, number: int) -> BagBatch:
        """Bag `number`, counted from 0 over all epochs."""
        epoch, place = divmod(number, len(self.bags))
        order = np.random.default_rng([self.seed, SEED_WORDS["bags"], epoch])
        bag = self.bags[order.permutation(len(self.bags))[place]]
        if bag.label is None:
            raise ValueError(f"bag {bag.id} has no label to learn from")
        features = torch.from_numpy(np.asarray(bag.features, dtype=np.float32))
        return BagBatch(features, torch.tensor(bag.label), (bag.id,))
