"""Supervised training of a grader: cross-entropy on random views."""

from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from medssl.data.batch import Stream
from medssl.data.radiograph.batch import RadiographBatch
from medssl.methods.grade.one_network import OneNetworkGrader
from medssl.methods.method import Progress


class SupervisedGrading(OneNetworkGrader):
    """Learns from the labelled images alone."""

    streams: tuple[Stream, ...] = ("labelled",)

    def forward(
        self,
        batches: dict[str, RadiographBatch],
        progress: Progress,
        generator: Generator,
        part: int = 0,
    ) -> dict[str, Tensor]:
        """Cross-entropy of the labelled batch."""
        batch = batches["labelled"]
        answers = self.answers({"labelled": self.view(batch.image, generator)})
        return {"supervised": cross_entropy(answers["labelled"], batch.truth)}
