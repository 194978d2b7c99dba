"""Pi-model: two random views, with their own dropout, must be answered alike.

Source: Laine & Aila, ICLR 2017. Gradients flow into both answers; the weight rises as
exp(-5 (1 - t)^2).
"""

from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from medssl.data.radiograph.batch import RadiographBatch
from medssl.methods.grade.consistency import answer_distance
from medssl.methods.grade.one_network import OneNetworkGrader
from medssl.methods.method import Progress
from medssl.methods.ramps import gaussian_ramp
from medssl.methods.settings.pi_model import Settings


class PiModel(OneNetworkGrader):
    """Labelled cross-entropy and the distance between answers to two views."""

    settings: Settings

    def forward(
        self,
        batches: dict[str, RadiographBatch],
        progress: Progress,
        generator: Generator,
        part: int = 0,
    ) -> dict[str, Tensor]:
        """Cross-entropy and the weighted mean squared difference of probabilities."""
        labelled, image = batches["labelled"], batches["unlabelled"].image
        answers = self.answers(
            {
                "labelled": self.view(labelled.image, generator),
                "first": self.view(image, generator),
                "second": self.view(image, generator),
            }
        )
        self.watch(answers["first"])
        weight = self.settings.weight * gaussian_ramp(progress, self.settings.rampup)
        return {
            "supervised": cross_entropy(answers["labelled"], labelled.truth),
            "consistency": weight * answer_distance(answers["first"], answers["second"]),
        }
