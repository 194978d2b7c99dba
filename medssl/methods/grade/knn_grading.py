"""Grading by nearest neighbours in a frozen encoder's features: nothing is trained."""

import torch
from torch import Generator, Tensor

from medssl.data.batch import Stream
from medssl.data.radiograph.augment import evaluation_view
from medssl.data.radiograph.batch import RadiographBatch
from medssl.methods.grade.one_network import OneNetworkGrader
from medssl.methods.method import GradeTask, Progress
from medssl.methods.settings.knn_grading import Settings
from medssl.networks.neighbours import Neighbours


class KnnGrading(OneNetworkGrader):
    """Every step keeps the features of labelled images, as they are, each image once."""

    streams: tuple[Stream, ...] = ("labelled",)

    def __init__(self, settings: Settings, task: GradeTask, seed: int) -> None:
        super().__init__(settings, task, seed)
        if not isinstance(self.network.head, Neighbours):
            raise TypeError("the network keeps no images")
        self._vote = (self.network.head,)  # in a tuple, where torch does not count it again
        self.network.requires_grad_(False)

    @torch.no_grad()
    def forward(
        self,
        batches: dict[str, RadiographBatch],
        progress: Progress,
        generator: Generator,
        part: int = 0,
    ) -> dict[str, Tensor]:
        """Keep images; the term is the share of them that those kept before grade wrongly."""
        batch, network, (vote,) = batches["labelled"], self.network, self._vote
        training = network.training
        features = network.eval().features(evaluation_view(batch.image))
        network.train(training)
        wrong = (vote(features).argmax(1) != batch.truth).float().mean()
        vote.keep(features, batch.truth)
        return {"graded_wrongly": wrong}
