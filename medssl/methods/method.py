"""The contract every learning algorithm fulfils; the training loop knows nothing else of it.

Legend: B items, V views, C channels, X Y Z voxels, K classes, N instances, E features.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from medssl.data.bag import BagBatch
from medssl.data.batch import Batch, Stream, TrainBatch
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


AnyBatch = TypeVar("AnyBatch", bound=TrainBatch)


@dataclass(frozen=True)
class Progress:
    """Where training stands: `step` counts from 1 to `steps`."""

    step: int
    steps: int


class Method(nn.Module, ABC, Generic[AnyBatch]):
    """A learning algorithm; `forward` is one training step.

    No device calls, optimisers, logging or paths inside.
    """

    streams: ClassVar[tuple[Stream, ...]]

    parts: int = 1
    """Number of losses whose gradients do not meet; the loop runs them one by one, so that only
    one part's activations are held at a time."""

    @abstractmethod
    def forward(
        self,
        batches: dict[str, AnyBatch],
        progress: Progress,
        generator: torch.Generator,
        part: int = 0,
    ) -> dict[str, Tensor]:
        """Weighted, named loss terms of one part; the loop minimises their sum and logs each."""

    def after_step(self, progress: Progress) -> None:
        """Update what is not trained by gradient: teachers, queues, prototypes."""

    def monitor(self) -> dict[str, float]:
        """Numbers that tell whether learning is healthy; logged, no part of the loss."""
        return {}

    def networks(self) -> Iterable[nn.Module]:
        """The separately optimised networks; gradients are clipped per network."""
        yield self

    def rate_factors(self) -> Iterable[tuple[float, list[nn.Parameter]]]:
        """Trainable parameters in groups, each with its factor on the learning rate."""
        yield 1.0, [p for p in self.parameters() if p.requires_grad]

    @abstractmethod
    def predictor(self) -> nn.Module:
        """What answers after training; its input and output are the family's."""


class SegmentMethod(Method[Batch]):
    """Learns from patches of volumes.

    Its predictor maps images [B, C, X, Y, Z] to logits [B, K, X, Y, Z].
    """

    @abstractmethod
    def sampler(self, patch: tuple[int, int, int]) -> PatchSampler:
        """How patches are drawn from a volume for this method."""


@dataclass(frozen=True)
class BagTask:
    """What a slide classifier maps from and to.

    Attributes:
        width: features of an instance.
        classes: names, the negative class first.
        counts: training bags of each class; where a method weighs classes.
    """

    width: int
    classes: tuple[str, ...]
    counts: tuple[int, ...]


class BagPrediction(NamedTuple):
    """What a slide classifier says of one bag.

    Attributes:
        probability: [K], of the bag's classes; sums to 1.
        instances: [N, K] of each instance, or None where the method gives none.
        attention: [N], sums to 1, or None where the method has none.
    """

    probability: Tensor
    instances: Tensor | None
    attention: Tensor | None


class BagMethod(Method[BagBatch]):
    """Learns from bags with one label each; one bag, in `batches["bags"]`, is a step.

    Built as `(settings, task: BagTask, seed)`. Its predictor maps features [N, E] to a
    `BagPrediction`.
    """

    streams: ClassVar[tuple[Stream, ...]] = ("bags",)
