"""The contract every learning algorithm fulfils; the training loop knows nothing else of it.

Legend: B items, V views, C channels, X Y Z voxels, K classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from medssl.data.batch import Batch, Stream
from medssl.data.patches import PatchSampler
from medssl.networks.settings import NetworkSettings


@dataclass(frozen=True)
class Task:
    """What the network maps from and to.

    Attributes:
        channels: names of the input channels, in order.
        classes: names of the output classes, background first.
        patch: training patch in voxels.
    """

    channels: tuple[str, ...]
    classes: tuple[str, ...]
    patch: tuple[int, int, int]
    network: NetworkSettings


@dataclass(frozen=True)
class Progress:
    """Where training stands: `step` counts from 1 to `steps`."""

    step: int
    steps: int


class Method(nn.Module, ABC):
    """A learning algorithm; `forward` is one training step.

    No device calls, optimisers, logging or paths inside.
    """

    streams: ClassVar[tuple[Stream, ...]]

    parts: int = 1
    """Number of losses whose gradients do not meet; the loop runs them one by one, so that only
    one part's activations are held at a time."""

    @abstractmethod
    def sampler(self, patch: tuple[int, int, int]) -> PatchSampler:
        """How patches are drawn from a volume for this method."""

    @abstractmethod
    def forward(
        self,
        batches: dict[str, Batch],
        progress: Progress,
        generator: torch.Generator,
        part: int = 0,
    ) -> dict[str, Tensor]:
        """Weighted, named loss terms of one part; the loop minimises their sum and logs each."""

    def after_step(self, progress: Progress) -> None:
        """Update what is not trained by gradient: teachers, queues, prototypes."""

    def networks(self) -> Iterable[nn.Module]:
        """The separately optimised networks; gradients are clipped per network."""
        yield self

    @abstractmethod
    def predictor(self) -> nn.Module:
        """Images [B, C, X, Y, Z] to logits [B, K, X, Y, Z], used after training."""
