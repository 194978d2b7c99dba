"""Mean teacher, and its uncertainty-aware form UA-MT.

Sources: Tarvainen & Valpola, NeurIPS 2017; Yu et al., UA-MT, MICCAI 2019 (released code for the
noise, the thresholds and the ramp-up).

Of regions, their probabilities are compared, and uncertainty is the sum of their entropies.

Legend: B items, K classes or regions, X Y Z voxels, T teacher draws.
"""

from functools import partial
from math import exp

import torch
from torch import Generator, Tensor

from medssl.data.batch import Batch
from medssl.methods.ema import teacher_decay, update_ema
from medssl.methods.method import Progress, Task
from medssl.methods.segment.labelled_loss import OnLabels
from medssl.methods.segment.losses import at_least_float32, supervised_loss
from medssl.methods.segment.partial import streams, teachable
from medssl.methods.segment.strong_settings import Strong
from medssl.methods.segment.strong_view import strong_view
from medssl.methods.segment.student_teacher import StudentTeacher
from medssl.methods.settings.mean_teacher import Settings
from medssl.networks.heads import heads_of


def rampup(step: int, length: int) -> float:
    """Gaussian ramp from exp(-5) to 1 over `length` steps (Laine & Aila 2017)."""
    return exp(-5 * (1 - min(step, length) / length) ** 2)


def certain_mse(student: Tensor, teacher: Tensor, certain: Tensor) -> Tensor:
    """Squared difference of probabilities [B, K, X, Y, Z] over the `certain` voxels [B, X, Y, Z].

    Divided by (classes x certain voxels) as the UA-MT release does with its two classes.
    """
    mask = certain.unsqueeze(1).to(student.dtype)
    distance = ((student - teacher) ** 2 * mask).sum()
    return distance / (student.shape[1] * mask.sum() + 1e-16)


class MeanTeacher(StudentTeacher):
    """Labels teach the student; the student's moving average teaches it on unlabelled images."""

    settings: Settings

    def __init__(self, settings: Settings, task: Task, seed: int) -> None:
        super().__init__(settings, task, seed)
        self.on_labels = OnLabels(partial(supervised_loss, dice=settings.dice), task)

    def forward(
        self, batches: dict[str, Batch], progress: Progress, generator: Generator, part: int = 0
    ) -> dict[str, Tensor]:
        """Supervised term on the labelled rows, consistency on the unlabelled rows."""
        labelled, unlabelled = streams(batches)
        rows = len(labelled.image)
        weak = view = unlabelled.image[:, 0]
        if self.settings.strong != Strong():
            view = strong_view(weak, self.settings.strong, generator)
        heads = heads_of(self.student, torch.cat([labelled.image[:, 0], view]))
        target, certain = self._teach(weak, progress, generator)
        student = self.outputs.probabilities(at_least_float32(heads[0][rows:]))
        weight = self.settings.weight * rampup(progress.step, self.settings.rampup_steps)
        return {
            "supervised": self.on_labels([head[:rows] for head in heads], labelled, progress),
            "consistency": weight * certain_mse(student, target, certain & teachable(unlabelled)),
        }

    @torch.no_grad()
    def _teach(
        self, image: Tensor, progress: Progress, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        """Teacher's probabilities, and the voxels on which the student follows them."""
        target = self._probability(image, generator)
        if not self.settings.uncertainty_aware:
            return target, torch.ones_like(target[:, 0], dtype=torch.bool)
        draws = [self._probability(image, generator) for _ in range(self.settings.draws)]
        mean = torch.stack(draws).mean(0)
        entropy = self.outputs.entropy(mean, 1e-6)
        return target, entropy < self.threshold(progress) * self.outputs.most_entropy

    def _probability(self, image: Tensor, generator: Generator) -> Tensor:
        """Teacher's probabilities [B, K, X, Y, Z] of a noisy image."""
        said = at_least_float32(self.teacher(self._noisy(image, generator)))
        return self.outputs.probabilities(said)

    def threshold(self, progress: Progress) -> float:
        """Share of the largest entropy below which a voxel counts at this step."""
        low, high = self.settings.threshold
        return low + (high - low) * rampup(progress.step, progress.steps)

    def _noisy(self, image: Tensor, generator: Generator) -> Tensor:
        size = self.settings.noise
        drawn = torch.randn(
            image.shape, generator=generator, device=image.device, dtype=image.dtype
        )
        return image + (drawn * size).clamp(-2 * size, 2 * size)

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        """Move the teacher towards the student; normalisation statistics are its own."""
        update_ema(self.teacher, self.student, teacher_decay(progress.step, self.settings.decay))
