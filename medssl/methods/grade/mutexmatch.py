"""MutexMatch: sure answers teach what an image is, unsure ones what it is not.

Source: Duan et al., IEEE TNNLS 35(6), 2024 (sheet: sections 2, 3 and 7). Truncation sets logits to
0, as released: a removed grade keeps its 1 in the softmax's denominator.

Legend: B labelled, U unlabelled images, F features, K grades; z logits of what an image is, r of
what it is not.
"""

from collections.abc import Iterable
from copy import deepcopy

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from medssl.data.radiograph.augment import random_view
from medssl.data.radiograph.batch import RadiographBatch
from medssl.data.radiograph.strong import strong_view, weaker
from medssl.methods.ema import follow_statistics, update_ema
from medssl.methods.grade.one_network import OneNetworkGrader
from medssl.methods.method import GradeTask, Progress
from medssl.methods.segment.losses import at_least_float32
from medssl.methods.settings.mutexmatch import Settings


def separation_loss(negative: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy of the negative head's r [., K] to the least likely grade of z [., K]."""
    return cross_entropy(negative, logits.detach().argmin(1))


def sure(weak: Tensor, threshold: float) -> Tensor:
    """[U] bool: rows of z [U, K] whose largest probability reaches the threshold."""
    return weak.detach().softmax(1).amax(1) >= threshold


def positive_loss(strong: Tensor, weak: Tensor, threshold: float) -> Tensor:
    """Cross-entropy of z of the strong view to the weak view's grade; mean over all U rows."""
    each = cross_entropy(strong, weak.detach().argmax(1), reduction="none")
    return (each * sure(weak, threshold)).mean()


def negative_loss(
    strong: Tensor, weak: Tensor, logits_weak: Tensor, threshold: float, keep: int
) -> Tensor:
    """Cross-entropy of r of the strong view to the weak view's distribution, on unsure rows.

    Args:
        strong, weak: r of the two views, [U, K].
        logits_weak: z of the weak view, [U, K].
        keep: how many of the largest entries of the target count; 0 or K: all.
    """
    target = weak.detach().softmax(1)
    if 0 < keep < target.shape[1]:
        kept = torch.zeros_like(target).scatter(1, target.topk(keep, dim=1).indices, 1).bool()
        target, strong = target.where(kept, 0), strong.where(kept, 0)
    each = -(target * strong.log_softmax(1)).sum(1)
    return (each * ~sure(logits_weak, threshold)).mean()


class MutexMatch(OneNetworkGrader):
    """Weak views of labelled, weak and strong views of unlabelled images, in one pass.

    The moving average of the weights is what answers after training; targets never come from it.
    """

    settings: Settings

    def __init__(self, settings: Settings, task: GradeTask, seed: int) -> None:
        super().__init__(settings, task, seed)
        self.weak = weaker(task.augment)
        self.negative: nn.Linear | None = None
        if settings.negative:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(1000 * seed + 1)
                self.negative = nn.Linear(self.network.width, len(task.grades))
        self.average = deepcopy(self.network).requires_grad_(False)
        self._sure: Tensor | None = None

    def forward(
        self,
        batches: dict[str, RadiographBatch],
        progress: Progress,
        generator: Generator,
        part: int = 0,
    ) -> dict[str, Tensor]:
        """L_sup, L_sep, L_p and L_n (sheet, section 3)."""
        labelled, image = batches["labelled"], batches["unlabelled"].image
        views = (
            random_view(labelled.image, self.weak, generator),
            random_view(image, self.weak, generator),
            strong_view(image, self.augment, self.settings.strong, generator),
        )
        features = self.network.features(torch.cat(views))
        logits = at_least_float32(self.network.head(features))
        sizes = [len(view) for view in views]
        known, weak, strong = torch.split(logits, sizes)
        self.watch(weak)
        self._sure = sure(weak, self.settings.threshold)
        positive = positive_loss(strong, weak, self.settings.threshold)
        terms = {
            "supervised": cross_entropy(known, labelled.truth),
            "positive": self.settings.weight * positive,
        }
        return terms | self._negative(features, logits, sizes)

    def _negative(self, features: Tensor, logits: Tensor, sizes: list[int]) -> dict[str, Tensor]:
        """L_sep, which reaches the second head alone, and L_n, which reaches the encoder too."""
        if self.negative is None:
            return {}
        apart = at_least_float32(self.negative(features.detach()))
        _, weak, strong = torch.split(at_least_float32(self.negative(features)), sizes)
        logits_weak = torch.split(logits, sizes)[1]
        chosen = self.settings
        loss = negative_loss(strong, weak, logits_weak, chosen.threshold, chosen.keep)
        return {
            "separation": separation_loss(apart, logits),
            "negative": chosen.weight * loss,
        }

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        """Move the averaged weights towards those of the trained network; statistics are copied."""
        update_ema(self.average, self.network, self.settings.decay)
        follow_statistics(self.average, self.network, 0.0)

    def monitor(self) -> dict[str, float]:
        """Signs of collapse, and the share of unlabelled images with a sure answer."""
        if self._sure is None:
            return {}
        return {**super().monitor(), "sure": float(self._sure.float().mean())}

    def networks(self) -> Iterable[nn.Module]:
        """The trained network and its second head; the average has no gradient."""
        yield from super().networks()
        if self.negative is not None:
            yield self.negative

    def predictor(self) -> nn.Module:
        """The network of averaged weights, with its positive head alone."""
        return self.average
