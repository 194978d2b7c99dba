"""What a training step is given.

Legend: B items, V views, C channels, X Y Z voxels.
"""

from dataclasses import dataclass
from typing import Literal, Protocol, Self

import torch
from torch import Tensor

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
        label: [B, X, Y, Z] uint8 class indices of the first view, or None where none are read.
        start: [B, V, 3] int64 on the CPU, where each patch begins in its posed volume, voxels.
        ids: case of each item.
    """

    image: Tensor
    label: Tensor | None
    start: Tensor
    ids: tuple[str, ...]

    @property
    def truth(self) -> Tensor:
        """The labels of a stream that reads them; ValueError on a stream that does not."""
        if self.label is None:
            raise ValueError("this stream reads no labels")
        return self.label

    def to(self, device: torch.device) -> Self:
        """The same batch on `device`."""
        label = None if self.label is None else self.label.to(device, non_blocking=True)
        image = self.image.to(device, non_blocking=True)
        return type(self)(image, label, self.start, self.ids)

    def damaged(self) -> tuple[str, ...]:
        """The cases with voxels that are not finite."""
        pairs = zip(self.ids, self.image, strict=True)
        return tuple(case for case, image in pairs if not bool(image.isfinite().all()))
