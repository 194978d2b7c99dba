"""What the graders have in common: one network, views of what it is given, a watch on collapse.

Legend: B images, V crops, S pixels of a side, K grades.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Generator, Tensor, nn

from medssl.data.batch import Stream
from medssl.data.radiograph.augment import random_view
from medssl.methods.method import GradeMethod, GradeTask
from medssl.methods.pretrain.collapse import spread
from medssl.methods.segment.losses import at_least_float32
from medssl.networks.grader import Grader, build_grader


class OneNetworkGrader(GradeMethod):
    """A method that trains one network, which also predicts unless a subclass says otherwise."""

    streams: tuple[Stream, ...] = ("labelled", "unlabelled")

    def __init__(self, settings: Any, task: GradeTask, seed: int) -> None:
        super().__init__()
        self.settings, self.augment = settings, task.augment
        self.network: Grader = build_grader(
            task.network, len(task.views), len(task.grades), 1000 * seed
        )
        self.apart = task.network.over_batch
        self._unlabelled: Tensor | None = None

    def view(self, image: Tensor, generator: Generator) -> Tensor:
        """A random view of images [B, V, S, S] uint8, by the task's transform T."""
        return random_view(image, self.augment, generator)

    def answers(self, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Logits of several sets of images.

        One pass, unless norms reach over the batch: of each set by itself then, so that none has
        the statistics of another.
        """
        if self.apart:
            each = {key: self.network(image) for key, image in images.items()}
            return {key: at_least_float32(one) for key, one in each.items()}
        sizes = [len(image) for image in images.values()]
        logits = at_least_float32(self.network(torch.cat(list(images.values()))))
        return dict(zip(images, torch.split(logits, sizes), strict=True))

    def watch(self, logits: Tensor) -> None:
        """Keep answers [B, K] to unlabelled images for `monitor`."""
        self._unlabelled = logits.detach()

    def monitor(self) -> dict[str, float]:
        """Signs of collapse in the last unlabelled batch, in nats; none before the first.

        Entropy of the answers, and the information that they give of the image: near 0 where all
        images get the same answer.
        """
        if self._unlabelled is None:
            return {}
        found = spread(self._unlabelled.softmax(1))
        return {
            "unlabelled_entropy": float(found.entropy),
            "unlabelled_information": float(found.information),
        }

    def networks(self) -> Iterable[nn.Module]:
        """The network; averages of it have no gradient."""
        yield self.network

    def predictor(self) -> nn.Module:
        """The network."""
        return self.network
