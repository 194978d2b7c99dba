"""ABMIL: a weighted mean of the patches, whose weights are learned, as may be their embedding.

Source: Ilse et al., ICML 2018 (arXiv 1802.04712).

Legend: N patches, E features, K classes, C sigmoid outputs.
"""

from typing import NamedTuple

from torch import Generator, Tensor, nn

from medssl.data.bags.bag import BagBatch
from medssl.methods.method import BagPrediction, BagTask
from medssl.methods.settings.abmil import Settings
from medssl.methods.slide.outputs import (
    SigmoidHead,
    bag_probability,
    refuse_empty,
    sigmoid_outputs,
)
from medssl.networks.attention_pool import AttentionScores


class Pooled(NamedTuple):
    """Bag logits [C] and the weights of the patches [N], which sum to 1."""

    logits: Tensor
    attention: Tensor


class AbmilNetwork(nn.Module):
    """Layers of each patch, attention, softmax over the patches, weighted sum, linear layer."""

    def __init__(self, settings: Settings, width: int, outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for wide in settings.layers:
            layers += [nn.Linear(width, wide), nn.ReLU(), nn.Dropout(settings.dropout)]
            width = wide
        self.embed = nn.Sequential(*layers)
        self.scores = AttentionScores(width, settings.hidden, 1, settings.gated)
        self.readout = nn.Linear(width, outputs)

    def forward(self, features: Tensor) -> BagPrediction:
        """Features [N, E] to the bag's probability and the attention; it does not judge patches."""
        pooled = self.pool(features)
        return BagPrediction(
            bag_probability(pooled.logits.float().sigmoid()), None, pooled.attention
        )

    def pool(self, features: Tensor) -> Pooled:
        """Features [N, E] to the bag's logits."""
        refuse_empty(features)
        rows = self.embed(features)
        attention = self.scores(rows).float().squeeze(1).softmax(0)
        return Pooled(self.readout(attention @ rows.float()), attention)


class Abmil(SigmoidHead[AbmilNetwork]):
    """Learns the weights and the classifier from the bag's label."""

    def build(self, settings: Settings, task: BagTask) -> AbmilNetwork:
        """The network of a task."""
        return AbmilNetwork(settings, task.width, sigmoid_outputs(task))

    def losses(self, bag: BagBatch, generator: Generator) -> dict[str, Tensor]:
        """Cross-entropy of the bag."""
        logits = self.network.pool(bag.features).logits
        return {"bag": self.loss(logits, bag.label)}
