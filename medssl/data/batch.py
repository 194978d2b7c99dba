"""What a training step is given.

Legend: B items, V views, C channels, X Y Z voxels.
"""

from dataclasses import dataclass
from typing import Literal, Protocol, Self

import torch
from torch import Tensor

from medssl.data.draws import placed

Stream = Literal["labelled", "unlabelled", "pairs", "scans", "bags", "tiles", "joint"]


class TrainBatch(Protocol):
    """What the training loop asks of a batch, whatever is in it."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Case of each item."""

    def to(self, device: torch.device) -> "TrainBatch":
        """The same batch on `device`."""

    def damaged(self) -> tuple[str, ...]:
        """The items whose own values are not finite."""


@dataclass
class Batch:
    """Patches from one stream.

    Attributes:
        image: [B, V, C, X, Y, Z] float32.
        label: [B, X, Y, Z] uint8 class indices of the first view, or None where none are read;
            0 where `known` is false.
        start: [B, V, 3] int64 on the CPU, where each patch begins in its posed volume, voxels.
        ids: case of each item.
        known: [B, X, Y, Z] bool, false where nobody has looked at a voxel; None: all are known.
        outlined: [B, K] bool, which classes are outlined in each case, background among them;
            others are part of what is background there. None: all are, everywhere.
    """

    image: Tensor
    label: Tensor | None
    start: Tensor
    ids: tuple[str, ...]
    known: Tensor | None = None
    outlined: Tensor | None = None

    @property
    def truth(self) -> Tensor:
        """The labels of a stream that reads them; ValueError on a stream that does not."""
        if self.label is None:
            raise ValueError("this stream reads no labels")
        return self.label

    def to(self, device: torch.device) -> Self:
        """The same batch on `device`."""
        label, known, outlined = (
            None if one is None else one.to(device, non_blocking=True)
            for one in (self.label, self.known, self.outlined)
        )
        image = self.image.to(device, non_blocking=True)
        return type(self)(image, label, self.start, self.ids, known, outlined)

    def rows(self, chosen: list[int]) -> Self:
        """Some of the items."""
        index = placed(chosen, self.image)
        label, known, outlined = (
            None if one is None else one[index] for one in (self.label, self.known, self.outlined)
        )
        ids = tuple(self.ids[row] for row in chosen)
        return type(self)(self.image[index], label, self.start[chosen], ids, known, outlined)

    def damaged(self) -> tuple[str, ...]:
        """The cases with voxels that are not finite."""
        pairs = zip(self.ids, self.image, strict=True)
        return tuple(case for case, image in pairs if not bool(image.isfinite().all()))
