"""MixMatch: labels guessed from several views, sharpened, and everything mixed with everything.

Source: Berthelot et al., NeurIPS 2019, section 3 and algorithm 1.

Legend: B labelled, U unlabelled images, k guesses of each, n = B + k U, K grades.
"""

from copy import deepcopy

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss, one_hot

from medssl.data.draws import placed
from medssl.data.radiograph.batch import RadiographBatch
from medssl.methods.ema import follow_statistics, kept_statistics, teacher_decay, update_ema
from medssl.methods.grade.mixup import draw_weights
from medssl.methods.grade.one_network import OneNetworkGrader
from medssl.methods.method import GradeTask, Progress
from medssl.methods.ramps import linear_ramp
from medssl.methods.segment.losses import at_least_float32
from medssl.methods.settings.mixmatch import Settings


def sharpen(probability: Tensor, temperature: float) -> Tensor:
    """p^(1/T) / sum p^(1/T) of [U, K]; equation 7."""
    powered = probability ** (1 / temperature)
    return powered / powered.sum(1, keepdim=True)


def mix_each(values: Tensor, order: Tensor, weights: Tensor) -> Tensor:
    """Rows [n, ...] mixed with their partners, each by its own weight [n]; equations 9 to 11."""
    own = weights.view(-1, *(1,) * (values.ndim - 1))
    return own * values + (1 - own) * values[order]


class MixMatch(OneNetworkGrader):
    """Cross-entropy on mixed labelled rows, Brier score on mixed unlabelled rows."""

    settings: Settings
    unlabelled_pool = "unlabelled"

    def __init__(self, settings: Settings, task: GradeTask, seed: int) -> None:
        super().__init__(settings, task, seed)
        self.grades = len(task.grades)
        self.average = deepcopy(self.network).requires_grad_(False)

    def forward(
        self,
        batches: dict[str, RadiographBatch],
        progress: Progress,
        generator: Generator,
        part: int = 0,
    ) -> dict[str, Tensor]:
        """Equations 2 to 5; every row is mixed with one of all rows, shuffled."""
        labelled, chosen = batches["labelled"], self.settings
        view = self.view(labelled.image, generator)
        views = [self.view(batches["unlabelled"].image, generator) for _ in range(chosen.guesses)]
        guess = self._guess(views)
        image = torch.cat([view, *views])
        truth = one_hot(labelled.truth, self.grades).to(guess.dtype)
        target = torch.cat([truth, guess.repeat(chosen.guesses, 1)])
        drawn = draw_weights(len(image), chosen.alpha, generator, floor=0.5)
        weights = placed(drawn, image, image.dtype)
        order = torch.randperm(len(image), generator=generator, device=image.device)
        mixed = mix_each(target, order, weights)
        logits = self.answers({"all": mix_each(image, order, weights)})["all"]
        rows, weight = len(view), chosen.weight * linear_ramp(progress, chosen.rampup)
        brier = mse_loss(logits[rows:].softmax(1), mixed[rows:])
        return {
            "supervised": cross_entropy(logits[:rows], mixed[:rows]),
            "unlabelled": weight * brier,
        }

    @torch.no_grad()
    def _guess(self, views: list[Tensor]) -> Tensor:
        """Sharpened mean answer [U, K] to k views [U, V, S, S] of the same images.

        It moves no running statistics, which are those of mixed rows alone, as released.
        """
        with kept_statistics(self.network):
            logits = at_least_float32(self.network(torch.cat(views)))
        self.watch(logits[: len(views[0])])
        mean = logits.softmax(1).view(len(views), -1, self.grades).mean(0)
        return sharpen(mean, self.settings.temperature)

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        """Move the average: a true one at first, exponential later."""
        decay = teacher_decay(progress.step, self.settings.decay)
        update_ema(self.average, self.network, decay)
        follow_statistics(self.average, self.network, decay)

    def predictor(self) -> nn.Module:
        """The average or the trained network, as `method.predictor` says."""
        return self.average if self.settings.predictor == "average" else self.network
