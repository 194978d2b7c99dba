"""Mixup on labelled images: the baseline with the same labelled loss as Semixup.

Source: Zhang et al., ICLR 2018; fold and floor of Semixup (sheet, sections 2 and 4).
"""

from torch import Generator, Tensor

from medssl.data.batch import Stream
from medssl.data.radiograph.batch import RadiographBatch
from medssl.methods.grade.mixup import draw_mixture, mixup_cross_entropy
from medssl.methods.grade.one_network import OneNetworkGrader
from medssl.methods.method import Progress
from medssl.methods.settings.supervised_mixup import Settings


class SupervisedMixup(OneNetworkGrader):
    """Learns from mixes of the labelled images alone."""

    settings: Settings
    streams: tuple[Stream, ...] = ("labelled",)

    def forward(
        self,
        batches: dict[str, RadiographBatch],
        progress: Progress,
        generator: Generator,
        part: int = 0,
    ) -> dict[str, Tensor]:
        """Mixup cross-entropy of the labelled batch."""
        batch = batches["labelled"]
        view = self.view(batch.image, generator)
        mixture = draw_mixture(view, self.settings.alpha, generator, self.settings.floor)
        answers = self.answers({"labelled": mixture.mix(view)})
        return {"supervised": mixup_cross_entropy(answers["labelled"], batch.truth, mixture)}
