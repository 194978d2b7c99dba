"""DSMIL: every patch is weighed by its likeness to the most positive patch.

Source: Li et al., CVPR 2021 (arXiv 2011.08939), and its release.

Legend: N patches, E features, K classes, C sigmoid outputs, Q query width.
"""

from typing import NamedTuple

from torch import Generator, Tensor, nn

from medssl.data.bags.bag import BagBatch
from medssl.methods.method import BagPrediction, BagTask
from medssl.methods.settings.dsmil import Settings
from medssl.methods.slide.outputs import (
    SigmoidHead,
    bag_probability,
    each_class,
    refuse_empty,
    sigmoid_outputs,
)


class Streams(NamedTuple):
    """Logits of both streams, patches [N, C] and bag [C], and the attention [N, C] over patches."""

    patches: Tensor
    bag: Tensor
    attention: Tensor


class DsmilNetwork(nn.Module):
    """Both streams; the values that are summed are the features themselves."""

    def __init__(self, settings: Settings, width: int, outputs: int) -> None:
        super().__init__()
        self.settings = settings
        self.head = nn.Linear(width, outputs)
        self.query = nn.Sequential(
            nn.Linear(width, settings.query_width),
            nn.ReLU(),
            nn.Linear(settings.query_width, settings.query_width),
            nn.Tanh(),
        )
        self.readout = nn.Conv1d(outputs, outputs, kernel_size=width)

    def streams(self, features: Tensor) -> Streams:
        """Features [N, E] through both streams."""
        refuse_empty(features)
        patches = self.head(features)
        queries = self.query(features)
        best = queries[patches.argmax(0)]
        logits = queries @ best.mT / self.settings.query_width**0.5
        attention = logits.float().softmax(0)
        embeddings = attention.mT @ features
        return Streams(patches, self.readout(embeddings.unsqueeze(0)).flatten(), attention)

    def forward(self, features: Tensor) -> BagPrediction:
        """Features [N, E] to the answer; with several outputs the mean attention is shown."""
        found = self.streams(features)
        patches, answer = found.patches.float().sigmoid(), found.bag.float().sigmoid()
        if self.settings.answer == "mean":
            answer = (answer + patches.amax(0)) / 2
        return BagPrediction(bag_probability(answer), each_class(patches), found.attention.mean(1))


class Dsmil(SigmoidHead[DsmilNetwork]):
    """Learns both streams from the bag's label."""

    def build(self, settings: Settings, task: BagTask) -> DsmilNetwork:
        """The network of a task."""
        return DsmilNetwork(settings, task.width, sigmoid_outputs(task))

    def losses(self, bag: BagBatch, generator: Generator) -> dict[str, Tensor]:
        """The losses of both streams."""
        weight = self.settings.max_weight
        found = self.network.streams(bag.features)
        best = found.patches.amax(0)
        return {
            "bag": (1 - weight) * self.loss(found.bag, bag.label),
            "max": weight * self.loss(best, bag.label),
        }
