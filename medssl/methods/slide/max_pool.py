"""Max pooling: the bag is as positive as its most positive patch.

Legend: N patches, E features, K classes, C sigmoid outputs.
"""

from torch import Generator, Tensor, nn

from medssl.data.bags.bag import BagBatch
from medssl.methods.method import BagPrediction, BagTask
from medssl.methods.settings.max_pool import Settings
from medssl.methods.slide.outputs import (
    SigmoidHead,
    bag_probability,
    each_class,
    refuse_empty,
    sigmoid_outputs,
)


class MaxPoolNetwork(nn.Module):
    """One linear layer."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.head = nn.Linear(width, outputs)

    def forward(self, features: Tensor) -> BagPrediction:
        """Features [N, E] to what the best patch of each output says."""
        patches = self.logits(features).float().sigmoid()
        return BagPrediction(bag_probability(patches.amax(0)), each_class(patches), None)

    def logits(self, features: Tensor) -> Tensor:
        """Patch logits [N, C]."""
        refuse_empty(features)
        logits: Tensor = self.head(features)
        return logits


class MaxPool(SigmoidHead[MaxPoolNetwork]):
    """Learns from the best patch of each bag."""

    def build(self, settings: Settings, task: BagTask) -> MaxPoolNetwork:
        """The network of a task."""
        return MaxPoolNetwork(task.width, sigmoid_outputs(task))

    def losses(self, bag: BagBatch, generator: Generator) -> dict[str, Tensor]:
        """Cross-entropy of the largest logit."""
        best = self.network.logits(bag.features).amax(0)
        return {"max": self.loss(best, bag.label)}
