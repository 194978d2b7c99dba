"""Semixup: views of an image, and mixes that stay nearer to it, must be answered alike.

Source: Nguyen et al., IEEE TMI 39(12), 2020 (sheet: sections 2 to 4 and 6). No teacher, no target
is detached: gradients flow through both sides of every term. With `reuse_partner`, the default, the
partner's answer is z1[q] and not a pass of its own; they differ in their dropout alone.

Legend: B images, V crops, S pixels of a side, K grades; z1, z2 logits of two views, z' of the
partner's first view, zm of the mix.
"""

from typing import NamedTuple

from torch import Generator, Tensor

from medssl.data.radiograph.augment import released_second_view
from medssl.data.radiograph.batch import RadiographBatch
from medssl.methods.grade.consistency import answer_distance
from medssl.methods.grade.mixup import Mixture, draw_mixture, mixup_cross_entropy
from medssl.methods.grade.one_network import OneNetworkGrader
from medssl.methods.method import Progress
from medssl.methods.ramps import linear_ramp
from medssl.methods.settings.semixup import Settings


class Distances(NamedTuple):
    """The three unweighted distances, each a scalar.

    Attributes:
        in_manifold: D(z2, z1).
        in_out_manifold: D(z1, zm) + D(z2, zm).
        interpolation: D(zm, lambda z1 + (1 - lambda) z').
    """

    in_manifold: Tensor
    in_out_manifold: Tensor
    interpolation: Tensor


def distances(
    first: Tensor, second: Tensor, partner: Tensor, mixed: Tensor, weight: float
) -> Distances:
    """Distances of logits z1, z2, z' and zm, [B, K] each; logits are mixed before the softmax."""
    target = weight * first + (1 - weight) * partner
    return Distances(
        answer_distance(second, first),
        answer_distance(first, mixed) + answer_distance(second, mixed),
        answer_distance(mixed, target),
    )


class Semixup(OneNetworkGrader):
    """Labelled mixup, and three squared distances between answers to unlabelled images."""

    settings: Settings

    def forward(
        self,
        batches: dict[str, RadiographBatch],
        progress: Progress,
        generator: Generator,
        part: int = 0,
    ) -> dict[str, Tensor]:
        """The supervised term and the three weighted distances.

        Without weight, in the warm start or by ablation, unlabelled images are not looked at.
        """
        labelled, chosen = batches["labelled"], self.settings
        view = self.view(labelled.image, generator)
        mixture = draw_mixture(view, chosen.alpha, generator, chosen.floor_labelled)
        images = {"labelled": mixture.mix(view)}
        factor = linear_ramp(progress, chosen.rampup, chosen.warm_start)
        weights = {name: factor * value for name, value in chosen.weights}
        if not any(weights.values()):
            logits = self.answers(images)["labelled"]
            return {"supervised": mixup_cross_entropy(logits, labelled.truth, mixture)}
        unlabelled_mixture, views = self._unlabelled_views(batches["unlabelled"].image, generator)
        answers = self.answers(images | views)
        found = self._distances(answers, unlabelled_mixture)
        self.watch(answers["first"])
        supervised = mixup_cross_entropy(answers["labelled"], labelled.truth, mixture)
        terms = {name: weights[name] * value for name, value in found._asdict().items()}
        return {"supervised": supervised, **terms}

    def _unlabelled_views(
        self, image: Tensor, generator: Generator
    ) -> tuple[Mixture, dict[str, Tensor]]:
        """u1, u2, um and, for a pass of its own, u', of images [B, V, S, S] uint8."""
        chosen = self.settings
        first = self.view(image, generator)
        if chosen.second_view == "drawn":
            second = self.view(image, generator)
        else:
            second = released_second_view(first, self.augment, generator)
        mixture = draw_mixture(first, chosen.alpha, generator, chosen.floor_unlabelled)
        views = {"first": first, "second": second, "mixed": mixture.mix(first)}
        if not chosen.reuse_partner:
            views["partner"] = first[mixture.order]
        return mixture, views

    def _distances(self, answers: dict[str, Tensor], mixture: Mixture) -> Distances:
        first = answers["first"]
        partner = answers.get("partner", first[mixture.order])
        return distances(first, answers["second"], partner, answers["mixed"], mixture.weight)
