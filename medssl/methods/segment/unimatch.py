"""UniMatch: weak-to-strong consistency of one network, with perturbed features.

Sources: Yang et al., CVPR 2023, arXiv 2208.09910, released medical code; V2: arXiv 2410.10777
(sheet sections 2 and 3). Only the unlabelled rows are perturbed; released, those of the labelled
ones are computed and thrown away.

Legend: B items, C channels, K classes, X Y Z voxels; u patches that teach, m those that are pasted.
"""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from medssl.data.batch import Batch
from medssl.data.draws import placed
from medssl.data.patches import Box
from medssl.methods.ema import follow_statistics, teacher_decay, update_ema
from medssl.methods.method import Progress, Task
from medssl.methods.segment.cutmix import Mixture, numpy_generator
from medssl.methods.segment.features import channels_kept, complementary, reach_features
from medssl.methods.segment.labelled_loss import OnLabels
from medssl.methods.segment.losses import (
    at_least_float32,
    every_class_loss,
    masked_cross_entropy,
    masked_dice,
    over_heads,
    probabilities,
)
from medssl.methods.segment.partial import streams, teachable
from medssl.methods.segment.passes import taught_by
from medssl.methods.segment.strong_view import strong_view
from medssl.methods.segment.student_teacher import StudentTeacher
from medssl.methods.settings.unimatch import CutMix, Settings
from medssl.networks.encoder_decoder import Features, changed_features
from medssl.networks.heads import heads_of
from medssl.networks.rows import rows_here

EMPTY = (slice(0, 0), slice(0, 0), slice(0, 0))
TRIES = 1000


class Pseudo(NamedTuple):
    """Labels [B, X, Y, Z] of unlabelled voxels, and the probability of each."""

    label: Tensor
    confidence: Tensor

    def unsure(self, where: Tensor) -> "Pseudo":
        """Below every threshold at the voxels of `where` [B, X, Y, Z]."""
        return Pseudo(self.label, self.confidence.masked_fill(where, -1))


def pseudo(logits: Tensor) -> Pseudo:
    """The likeliest class of logits [B, K, X, Y, Z], detached."""
    confidence, label = logits.detach().softmax(1).max(1)
    return Pseudo(label, confidence)


def box_sides(shape: Sequence[int], share: float, ratio: float) -> tuple[int, ...]:
    """Sides of a box that holds `share` of N voxels: (sN/r)^(1/3), (sNr)^(1/3), (sN)^(1/3).

    Of an image of one slice, (sN/r)^(1/2) and (sNr)^(1/2). Sides may be longer than the patch's.
    """
    factors = {axis: 1.0 for axis, side in enumerate(shape) if side > 1}
    first, *others = factors or [0]
    factors[first] = 1 / ratio
    if others:
        factors[others[0]] = ratio
    volume, root = share * prod(shape), 1 / max(1, len(factors))
    return tuple(
        int((volume * factors[axis]) ** root) if side > 1 else 1 for axis, side in enumerate(shape)
    )


def draw_box(shape: Sequence[int], chosen: CutMix, rng: np.random.Generator) -> Box:
    """A box or an empty one; its ratio and place are drawn again until it fits."""
    if rng.random() >= chosen.probability:
        return EMPTY
    share = rng.uniform(*chosen.share)
    for _ in range(TRIES):
        sides = box_sides(shape, share, rng.uniform(*chosen.ratio))
        starts = [int(rng.integers(side)) for side in shape]
        if all(a + b <= side for a, b, side in zip(starts, sides, shape, strict=True)):
            break
    else:  # too flat a patch for its share
        sides = tuple(min(a, side) for a, side in zip(sides, shape, strict=True))
        starts = [int(rng.integers(side - a + 1)) for a, side in zip(sides, shape, strict=True)]
    x, y, z = (slice(start, start + side) for start, side in zip(starts, sides, strict=True))
    return x, y, z


class UniMatch(StudentTeacher):
    """One network, or its moving average, that labels weak views for its own strong ones."""

    settings: Settings

    def __init__(self, settings: Settings, task: Task, seed: int) -> None:
        super().__init__(settings, task, seed)
        if settings.perturbs:
            advice = "set method.features.kind=none, or name another network"
            reach_features(self.student, task, "unimatch", advice)
        self.on_labels = OnLabels(every_class_loss, task)

    def forward(
        self, batches: dict[str, Batch], progress: Progress, generator: Generator, part: int = 0
    ) -> dict[str, Tensor]:
        """L = 1/2 (L_x + 1/4 L_s1 + 1/4 L_s2 + 1/2 L_fp), as the settings weigh them."""
        chosen, halved = self.settings, self.settings.cutmix.partner == "other_half"
        labelled, unlabelled = streams(batches, even=halved)
        image, patches = labelled.image[:, 0], unlabelled.image[:, 0]
        if progress.step <= round(chosen.start * progress.steps):
            early = self.on_labels(heads_of(self.student, image), labelled, progress)
            return {"supervised": chosen.weight * early}
        weak, pasted = patches.chunk(2) if halved else (patches, patches.flip(0))
        closed = (~teachable(unlabelled)).chunk(2 if halved else 1)
        strong = [
            (
                strong_view(weak, chosen.strong, generator),
                strong_view(pasted, chosen.strong, generator),
            )
            if halved
            else _with_reverse(strong_view(weak, chosen.strong, generator))
            for _ in chosen.strong_weights
        ]
        rng = numpy_generator(generator)
        mixtures = [self._mixture(weak, rng) for _ in strong]
        heads, plain, perturbed = self._weak_pass(image, weak, generator)
        known = pseudo(plain).unsure(closed[0])
        other = (
            pseudo(self._label(pasted)).unsure(closed[1])
            if halved
            else Pseudo(*(one.flip(0) for one in known))
        )
        mixed = [one.apply(own, donor) for one, (own, donor) in zip(mixtures, strong, strict=True)]
        answers = self._strong_pass(mixed, generator)
        terms = {"supervised": self.on_labels(heads, labelled, progress)}
        rest = zip(mixtures, answers, chosen.strong_weights, strict=True)
        for number, (mixture, found, weight) in enumerate(rest, start=1):
            label, confidence = (
                mixture.apply(own[:, None], donor[:, None])[:, 0]
                for own, donor in zip(known, other, strict=True)
            )
            if weight:
                terms[f"strong_{number}"] = weight * self._taught(found, label, confidence)
        if perturbed is not None:
            terms["features"] = chosen.feature_weight * self._taught([perturbed], *known)
        return {name: chosen.weight * term for name, term in terms.items()}

    def _mixture(self, image: Tensor, rng: np.random.Generator) -> Mixture:
        boxes = [draw_box(image.shape[2:], self.settings.cutmix, rng) for _ in image]
        return Mixture(range(len(image)), boxes)

    def _label(self, image: Tensor) -> Tensor:
        """Logits of classes by which images are labelled in evaluation mode."""
        labeller = self.teacher if self.settings.labeller == "teacher" else self.student
        return taught_by(labeller, image, False, self.outputs)

    def _weak_pass(
        self, image: Tensor, weak: Tensor, generator: Generator
    ) -> tuple[list[Tensor], Tensor, Tensor | None]:
        """Heads on labelled patches, and logits of weak views: the labeller's, and perturbed ones.

        Weak views go through the student only where one of the two asks for it.
        """
        chosen, rows = self.settings, len(image)
        stream = chosen.features.kind == "weak" and chosen.feature_weight > 0
        labels = chosen.labeller == "student" and chosen.train_mode
        if not (stream or labels):
            return heads_of(self.student, image), self._label(weak), None
        plain = None if labels else self._label(weak)
        both = torch.cat([image, weak])
        if not stream:
            heads, perturbed = heads_of(self.student, both), None
        else:
            with changed_features(self.student, lambda one: self._widened(one, rows, generator)):
                heads = heads_of(self.student, both)
            perturbed = at_least_float32(heads[0][len(both) :])
        if plain is None:
            plain = self.outputs.as_classes(at_least_float32(heads[0][rows : len(both)]))
        return [head[:rows] for head in heads], plain, perturbed

    def _widened(self, found: Features, rows: int, generator: Generator) -> Features:
        """Features of every level, and of the unlabelled rows again with dropped channels."""
        chosen, widened = self.settings.features, list[Tensor]()
        here = rows_here(len(found.image))
        places = (here.index >= rows).nonzero().flatten()
        again = here.index[places]
        for depth, features in enumerate(reversed(found.maps)):
            own = features[placed(places, features)]
            if chosen.levels is None or depth < chosen.levels:
                all_own = (here.total - rows, *own.shape[1:])
                kept = channels_kept(all_own, chosen.dropout, generator, own.device)
                own = own * kept[placed(again - rows, own)].to(own.dtype)
            widened.append(torch.cat([features, own]))
        here.extend(again + here.total - rows, 2 * here.total - rows)
        image = torch.cat([found.image, found.image[placed(places, found.image)]])
        return found._replace(image=image, maps=widened[::-1])

    def _strong_pass(self, views: list[Tensor], generator: Generator) -> list[list[Tensor]]:
        """Heads on each strong view; of one without a weight none are computed."""
        wanted = [view for view, w in zip(views, self.settings.strong_weights, strict=True) if w]
        if not wanted:
            return [[] for _ in views]
        together = torch.cat(wanted)
        if self.settings.features.kind == "complementary" and len(wanted) == 2:
            with changed_features(self.student, lambda found: self._split(found, generator)):
                heads = heads_of(self.student, together)
        else:
            heads = heads_of(self.student, together)
        found = iter(zip(*(head.chunk(len(wanted)) for head in heads), strict=True))
        return [list(next(found)) if w else [] for w in self.settings.strong_weights]

    def _split(self, found: Features, generator: Generator) -> Features:
        """Features of every level, each channel in one of the two views alone."""
        maps = found.maps
        kept = max(0, len(maps) - (self.settings.features.levels or len(maps)))
        here = rows_here(len(maps[0]))
        changed = []
        for one in maps[kept:]:
            factors = complementary((here.total, *one.shape[1:]), generator, one.device)
            changed.append(one * factors[here.index.to(one.device)].to(one.dtype))
        return found._replace(maps=[*maps[:kept], *changed])

    def _taught(self, heads: list[Tensor], label: Tensor, confidence: Tensor) -> Tensor:
        """What pseudo-labels that are sure enough cost."""
        sure = confidence >= self.settings.threshold
        return over_heads(heads, self._pseudo_loss, self.outputs.targets(label), sure)

    def _pseudo_loss(self, logits: Tensor, label: Tensor, sure: Tensor) -> Tensor:
        logits = at_least_float32(logits)
        if self.settings.loss == "dice":
            return masked_dice(probabilities(logits, label), label, sure)
        share = sure.to(logits.dtype).mean()
        return share * masked_cross_entropy(logits, label, sure)

    def after_step(self, progress: Progress) -> None:
        """The teacher follows the student, statistics included."""
        decay = teacher_decay(progress.step - 1, self.settings.decay)
        update_ema(self.teacher, self.student, decay)
        follow_statistics(self.teacher, self.student, decay)


def _with_reverse(view: Tensor) -> tuple[Tensor, Tensor]:
    return view, view.flip(0)
