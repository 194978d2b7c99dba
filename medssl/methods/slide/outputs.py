"""What the outputs of a slide classifier mean: sigmoid outputs, class probabilities, their loss.

Two classes need one sigmoid output, that of the second; more have one output each, one class
against the rest.

Legend: N patches, K classes, C sigmoid outputs.
"""

from abc import abstractmethod
from typing import Any, Generic, TypeVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from medssl.data.bags.bag import BagBatch
from medssl.errors import DataError, UsageError
from medssl.methods.method import BagMethod, BagTask, Progress

Network = TypeVar("Network", bound=nn.Module)


class OneNetworkHead(BagMethod, Generic[Network]):
    """A method with one network, which also predicts.

    Attributes:
        network: what `build` makes; torch's global generator is left as it was.
    """

    def __init__(self, settings: Any, task: BagTask, seed: int) -> None:
        super().__init__()
        self.settings = settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network: Network = self.build(settings, task)

    @abstractmethod
    def build(self, settings: Any, task: BagTask) -> Network:
        """The network, freshly initialised by torch's global generator."""

    @abstractmethod
    def losses(self, bag: BagBatch, generator: Generator) -> dict[str, Tensor]:
        """Weighted, named loss terms of one bag."""

    def forward(
        self,
        batches: dict[str, BagBatch],
        progress: Progress,
        generator: Generator,
        part: int = 0,
    ) -> dict[str, Tensor]:
        """The loss terms of the bag of this step."""
        return self.losses(batches["bags"], generator)

    def predictor(self) -> nn.Module:
        """The network."""
        return self.network


class SigmoidHead(OneNetworkHead[Network]):
    """A head whose outputs are sigmoids, and its loss.

    Attributes:
        positive: [C], weights of positive labels; None without `settings.positive_weight`.
    """

    positive: Tensor | None

    def __init__(self, settings: Any, task: BagTask, seed: int) -> None:
        super().__init__(settings, task, seed)
        positive = positive_weights(task) if settings.positive_weight else None
        self.register_buffer("positive", positive, persistent=False)

    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """`one_vs_rest_loss` of logits [C] with the weights of this head."""
        return one_vs_rest_loss(logits, label, self.positive)


def sigmoid_outputs(task: BagTask) -> int:
    """Number of sigmoid outputs C: one for two classes, else one for each class."""
    return 1 if len(task.classes) == 2 else len(task.classes)


def one_vs_rest_loss(logits: Tensor, label: Tensor, positive: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of logits [C] for the class index `label`, mean over the outputs.

    Args:
        logits: [C].
        label: int64 scalar, in [0, K).
        positive: [C], weight of a positive label; None weighs all alike.
    """
    target = label.reshape(1) if len(logits) == 1 else functional.one_hot(label, len(logits))
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return functional.binary_cross_entropy_with_logits(
        logits, target.to(logits), pos_weight=positive
    )


def positive_weights(task: BagTask) -> Tensor:
    """Negatives per positive among the training bags, of each output: [C].

    Raises:
        UsageError: a class has no training bag.
    """
    if 0 in task.counts:
        empty = task.classes[task.counts.index(0)]
        raise UsageError(
            f"the class {empty} has no training bag",
            "positive_weight divides by the number of them",
            "set method.positive_weight=false",
        )
    counts = torch.tensor(task.counts, dtype=torch.float32)
    weights = (counts.sum() - counts) / counts
    return weights[1:] if len(counts) == 2 else weights


def each_class(sigmoids: Tensor) -> Tensor:
    """Sigmoids [..., C] as values of each class [..., K].

    With one output [1 - p, p]; with more each class against the rest, which need not sum to 1.
    """
    return torch.cat([1 - sigmoids, sigmoids], -1) if sigmoids.shape[-1] == 1 else sigmoids


def bag_probability(sigmoids: Tensor) -> Tensor:
    """Sigmoids [C] of a bag as probabilities [K] that sum to 1; more than two are normalised."""
    each = each_class(sigmoids)
    return each / each.sum().clamp_min(torch.finfo(each.dtype).tiny)


def refuse_empty(features: Tensor) -> None:
    """Refuse a bag without patches.

    Raises:
        DataError: features [N, E] has no row.
    """
    if len(features) == 0:
        raise DataError(
            "a bag holds no patch",
            "perhaps no tissue was found in its slide",
            "leave it out or lower the tissue threshold",
        )
