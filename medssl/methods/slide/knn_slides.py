"""Nearest neighbours of a bag's mean patch: nothing is trained.

Legend: N patches, E features, K classes.
"""

import torch
from torch import Generator, Tensor, nn

from medssl.data.bags.bag import BagBatch
from medssl.methods.method import BagPrediction, BagTask
from medssl.methods.settings.knn_slides import Settings
from medssl.methods.slide.outputs import OneNetworkHead, refuse_empty
from medssl.networks.neighbours import Neighbours


class KnnNetwork(nn.Module):
    """The vote of the bags that are kept."""

    def __init__(self, width: int, classes: int, neighbours: int) -> None:
        super().__init__()
        self.vote = Neighbours(width, classes, neighbours)

    def forward(self, features: Tensor) -> BagPrediction:
        """Features [N, E] to what the nearest bags say, of the bag alone."""
        refuse_empty(features)
        return BagPrediction(self.vote(features.mean(0, keepdim=True))[0].softmax(0), None, None)


class KnnSlides(OneNetworkHead[KnnNetwork]):
    """Every step keeps one bag, each bag once."""

    def build(self, settings: Settings, task: BagTask) -> KnnNetwork:
        """The network of a task."""
        return KnnNetwork(task.width, len(task.classes), settings.nearest)

    @torch.no_grad()
    def losses(self, bag: BagBatch, generator: Generator) -> dict[str, Tensor]:
        """Keep the bag; the term is 1 where those kept before call it wrongly."""
        vote, mean = self.network.vote, bag.features.mean(0, keepdim=True)
        wrong = (vote(mean).argmax(1) != bag.label).float().mean()
        vote.keep(mean, bag.label.reshape(1))
        return {"called_wrongly": wrong}
