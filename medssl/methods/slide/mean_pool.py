"""Mean pooling: the bag is its average patch.

Legend: N patches, E features, K classes, C sigmoid outputs.
"""

from torch import Generator, Tensor, nn

from medssl.data.bags.bag import BagBatch
from medssl.methods.method import BagPrediction, BagTask
from medssl.methods.settings.mean_pool import Settings
from medssl.methods.slide.outputs import (
    SigmoidHead,
    bag_probability,
    each_class,
    refuse_empty,
    sigmoid_outputs,
)


class MeanPoolNetwork(nn.Module):
    """One linear layer; the bag's logit is the mean of its patches' logits."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.head = nn.Linear(width, outputs)

    def forward(self, features: Tensor) -> BagPrediction:
        """Features [N, E] to what the mean says, and what the same layer says of each patch."""
        bag = self.logits(features).float().sigmoid()
        patches = self.head(features).float().sigmoid()
        return BagPrediction(bag_probability(bag), each_class(patches), None)

    def logits(self, features: Tensor) -> Tensor:
        """Bag logits [C]."""
        refuse_empty(features)
        logits: Tensor = self.head(features.mean(0))
        return logits


class MeanPool(SigmoidHead[MeanPoolNetwork]):
    """Learns from the mean patch of each bag."""

    def build(self, settings: Settings, task: BagTask) -> MeanPoolNetwork:
        """The network of a task."""
        return MeanPoolNetwork(task.width, sigmoid_outputs(task))

    def losses(self, bag: BagBatch, generator: Generator) -> dict[str, Tensor]:
        """Cross-entropy of the mean's logit."""
        logits = self.network.logits(bag.features)
        return {"mean": self.loss(logits, bag.label)}
