"""Mean pooling: the bag is its average patch.

Legend: N patches, E features, K classes, C sigmoid outputs.
"""

import torch
from torch import Generator, Tensor, nn

from medssl.data.bag import BagBatch
from medssl.methods.method import BagMethod, BagPrediction, BagTask, Progress
from medssl.methods.settings.mean_pool import Settings
from medssl.methods.slide.outputs import (
    bag_probability,
    each_class,
    one_vs_rest_loss,
    positive_weights,
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


class MeanPool(BagMethod):
    """Learns from the mean patch of each bag."""

    positive: Tensor | None

    def __init__(self, settings: Settings, task: BagTask, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = MeanPoolNetwork(task.width, sigmoid_outputs(task))
        positive = positive_weights(task) if settings.positive_weight else None
        self.register_buffer("positive", positive, persistent=False)

    def forward(
        self,
        batches: dict[str, BagBatch],
        progress: Progress,
        generator: Generator,
        part: int = 0,
    ) -> dict[str, Tensor]:
        """Cross-entropy of the mean's logit."""
        bag = batches["bags"]
        logits = self.network.logits(bag.features)
        return {"mean": one_vs_rest_loss(logits, bag.label, self.positive)}

    def predictor(self) -> nn.Module:
        """The linear layer."""
        return self.network
