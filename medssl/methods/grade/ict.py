"""Interpolation consistency training: f(mix(a, b)) = mix(f'(a), f'(b)), f' the moving average.

Source: Verma et al., IJCAI 2019. The teacher answers without dropout and gets no gradient; one
weight lambda of Beta(alpha, alpha) per batch, as it is drawn.

Legend: B images, K grades.
"""

from copy import deepcopy
from typing import Self

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from medssl.data.radiograph.batch import RadiographBatch
from medssl.methods.ema import follow_statistics, teacher_decay, update_ema
from medssl.methods.grade.mixup import draw_mixture
from medssl.methods.grade.one_network import OneNetworkGrader
from medssl.methods.method import GradeTask, Progress
from medssl.methods.ramps import gaussian_ramp
from medssl.methods.segment.losses import at_least_float32
from medssl.methods.settings.ict import Settings


class Ict(OneNetworkGrader):
    """Labelled cross-entropy, and the distance to the mix of the teacher's probabilities."""

    settings: Settings
    unlabelled_pool = "unlabelled"

    def __init__(self, settings: Settings, task: GradeTask, seed: int) -> None:
        super().__init__(settings, task, seed)
        self.teacher = deepcopy(self.network).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """Training mode of the student alone."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(
        self,
        batches: dict[str, RadiographBatch],
        progress: Progress,
        generator: Generator,
        part: int = 0,
    ) -> dict[str, Tensor]:
        """Cross-entropy and the weighted mean squared difference of probabilities."""
        labelled = batches["labelled"]
        labelled_view = self.view(labelled.image, generator)
        view = self.view(batches["unlabelled"].image, generator)
        mixture = draw_mixture(view, self.settings.alpha, generator)
        answers = self.answers({"labelled": labelled_view, "mixed": mixture.mix(view)})
        with torch.no_grad():
            taught = at_least_float32(self.teacher(view))
        self.watch(taught)
        weight = self.settings.weight * gaussian_ramp(progress, self.settings.rampup)
        distance = mse_loss(answers["mixed"].softmax(1), mixture.mix(taught.softmax(1)))
        return {
            "supervised": cross_entropy(answers["labelled"], labelled.truth),
            "interpolation": weight * distance,
        }

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        """Move the teacher: a true average at first, exponential later."""
        decay = teacher_decay(progress.step, self.settings.decay)
        update_ema(self.teacher, self.network, decay)
        follow_statistics(self.teacher, self.network, decay)

    def predictor(self) -> nn.Module:
        """The teacher or the student, as `method.predictor` says."""
        return self.teacher if self.settings.predictor == "teacher" else self.network
