"""TraCoCo: translation-consistent co-training of two networks.

Source: Liu et al., arXiv 2203.14523, IEEE TMI 2024, and its released code. Where the release slips,
a setting chooses between it and the method as described (`medssl.methods.settings.tracoco`).

Of regions, labels are learnt by each region's sigmoid; what is not labelled, by logits of classes.

Legend: B items (labelled rows first), K classes, X Y Z voxels, x y z voxels of an overlap;
q teacher's and p student's probabilities.
"""

from collections.abc import Iterable
from copy import deepcopy
from functools import partial
from math import exp

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from medssl.data.batch import Batch, Stream
from medssl.data.draws import uniform
from medssl.data.patches import OverlappingPatches, PatchSampler, SinglePatch, overlap_boxes
from medssl.methods.ema import follow_statistics, teacher_decay, update_ema
from medssl.methods.method import Progress, SegmentMethod, Task
from medssl.methods.segment.cutmix import Mixture, draw_mixture, numpy_generator
from medssl.methods.segment.labelled_loss import OnLabels
from medssl.methods.segment.losses import (
    at_least_float32,
    dice_loss,
    masked_cross_entropy,
    masked_dice,
    supervised_loss,
)
from medssl.methods.segment.partial import streams, teachable
from medssl.methods.segment.passes import has_batch_statistics, taught_by
from medssl.methods.segment.strong_settings import Strong
from medssl.methods.segment.strong_view import strong_view
from medssl.methods.settings.tracoco import Pseudo, Settings
from medssl.networks.ensemble import Ensemble
from medssl.networks.heads import heads_of

FLOOR = 1e-6
SURE = 100.0
"""Difference of logits by which the probability of a class is 1."""


def unsupervised_weight(step: int, weight: float, rampup_steps: int) -> float:
    """w(t) = W exp(-5 (1 - min(t, T) / T)^2), with t from 1 (sheet 5.4)."""
    return weight * exp(-5 * (1 - min(step, rampup_steps) / rampup_steps) ** 2)


def translation_kl(reference: Tensor, shifted: Tensor, axis: str) -> Tensor:
    """KL(shifted || reference) of one item's overlap logits [K, x, y, z], mean over all elements.

    `axis` "class" compares class distributions per voxel; "x" compares distributions along x per
    class and line, as the release does (sheet section 2, quirk 1).
    """
    dim = 0 if axis == "class" else 1
    log_a, log_b = reference.log_softmax(dim), shifted.log_softmax(dim)
    return (log_b.exp() * (log_b - log_a)).mean()


def negative_entropy(logits: Tensor) -> Tensor:
    """Voxel mean of sum_k p ln p of one item's logits [K, x, y, z]; minimising raises entropy."""
    log_p = logits.log_softmax(0)
    return (log_p.exp() * log_p).sum(0).mean()


def confident_loss(
    student: Tensor, teacher: Tensor, settings: Pseudo, where: Tensor | None = None
) -> Tensor:
    """CBC / CRC (sheet 5.3): the teacher's confident voxels teach the student.

    Positive: where the chosen class has at least `positive_threshold`, weighted cross-entropy.
    Negative: where the least likely class has less than `negative_threshold`, every class but the
    chosen one is pushed down, weighted by that least probability. Each half is a mean over its own
    voxels and 0 where it has none. For more than two classes the chosen class has no part in the
    negative half (the release's integer NOT gave it one).

    Args:
        student: logits [B, K, X, Y, Z].
        teacher: logits of the same shape; no gradient reaches them.
        settings: thresholds and weighting.
        where: [B, X, Y, Z] bool, the voxels that count; None: all.
    """
    q = teacher.detach().softmax(1)
    confidence, chosen = q.max(1)
    least = q.min(1).values
    log_p = student.log_softmax(1)
    weight = confidence if settings.confidence_weight else torch.ones_like(confidence)
    positive = -weight * log_p.gather(1, chosen.unsqueeze(1)).squeeze(1)
    others = 1 - one_hot(chosen, q.shape[1]).movedim(-1, 1).to(q.dtype)
    unlikely = -(1 - log_p.exp()).clamp(FLOOR, 1).log() * others
    negative = least * unlikely.sum(1) / (q.shape[1] - 1)
    sure, unlikely_one = (
        confidence >= settings.positive_threshold,
        least < settings.negative_threshold,
    )
    if where is not None:
        sure, unlikely_one = sure & where, unlikely_one & where
    return _mean_over(positive, sure) + _mean_over(negative, unlikely_one)


def _mean_over(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the voxels of `mask`; 0 if there are none. No synchronisation with the device."""
    return torch.where(mask, values, 0).sum() / mask.sum().clamp_min(1)


def pseudo_loss(
    student: Tensor, teacher: Tensor, settings: Pseudo, where: Tensor | None = None
) -> Tensor:
    """What the pseudo-labels of `teacher` cost `student`, both logits [B, K, X, Y, Z].

    Args:
        where: [B, X, Y, Z] bool, the voxels that count; None: all.
    """
    student, teacher = at_least_float32(student), at_least_float32(teacher.detach())
    probability, label = student.softmax(1), teacher.argmax(1)
    if settings.kind == "cross_entropy":
        loss = (
            cross_entropy(student, label)
            if where is None
            else masked_cross_entropy(student, label, where)
        )
    elif settings.kind == "mse":
        squares = (probability - teacher.softmax(1)) ** 2
        loss = squares.mean() if where is None else _mean_over(squares.mean(1), where)
    else:
        loss = confident_loss(student, teacher, settings, where)
    if not settings.dice:
        return loss
    if where is None:
        return 0.5 * (loss + dice_loss(probability, label))
    background = student.shape[1] > 2
    return 0.5 * (loss + masked_dice(probability, label, where, background=background))


def truth_or_said(labelled: Batch, said: Tensor) -> Tensor:
    """Logits sure of the labels; those of a teacher [B, K, X, Y, Z] where none is known."""
    sure = certain_logits(labelled.truth, said)
    return sure if labelled.known is None else torch.where(labelled.known[:, None], sure, said)


def certain_logits(label: Tensor, like: Tensor) -> Tensor:
    """Logits [B, K, X, Y, Z] that are sure of labels [B, X, Y, Z]; K is that of `like`."""
    return SURE * one_hot(label.long(), like.shape[1]).movedim(-1, 1).to(like.dtype)


class TraCoCo(SegmentMethod):
    """One training step of each network; part 0 is network 1, part 1 is network 2."""

    streams: tuple[Stream, ...] = ("labelled", "unlabelled")
    parts = 2

    def __init__(self, settings: Settings, task: Task, seed: int) -> None:
        super().__init__()
        self.settings = settings
        self.on_labels = OnLabels(partial(supervised_loss, dice=settings.dice), task)
        self.patch = task.patch
        seeds = settings.seeds or (1000 * seed, 1000 * seed + 1)
        self.pair = nn.ModuleList(task.new_network(one) for one in seeds)
        self.outputs = task.outputs
        if settings.average.decay is not None:
            self.averages = deepcopy(self.pair).requires_grad_(False)

    def sampler(self, patch: tuple[int, int, int]) -> PatchSampler:
        """Two overlapping views, or one where translation consistency is off."""
        chosen = self.settings.translation
        if not chosen.enabled:
            return SinglePatch(patch)
        return OverlappingPatches(patch, chosen.sampler, chosen.repair, chosen.min_overlap)

    def forward(
        self, batches: dict[str, Batch], progress: Progress, generator: Generator, part: int = 0
    ) -> dict[str, Tensor]:
        """L_k = supervised + w(t) (pseudo + w_s KL + w_h N) of network `part` (sheet 5.4)."""
        labelled, unlabelled = streams(batches)
        rows = len(labelled.image)
        image = torch.cat([labelled.image, unlabelled.image])
        start = torch.cat([labelled.start, unlabelled.start])
        needs_unlabelled = self.settings.translation.enabled or self.settings.pseudo.kind != "none"
        network = self.pair[part]
        reference = image[:, 0] if needs_unlabelled else labelled.image[:, 0]
        heads = heads_of(network, self._noisy(reference, generator))
        known = [head[:rows] for head in heads]
        logits = self.outputs.as_classes(at_least_float32(heads[0]))
        terms = {"supervised": self.on_labels(known, labelled, progress)}
        unsupervised = self.settings.unsupervised
        weight = unsupervised_weight(progress.step, unsupervised.weight, unsupervised.rampup_steps)
        if self.settings.translation.enabled:
            shifted = at_least_float32(network(self._noisy(image[:, 1], generator)))
            shifted = self.outputs.as_classes(shifted)
            kl, entropy = self._translation(logits, shifted, start.tolist(), rows)
            terms["translation"] = weight * self.settings.translation.weight * kl
            terms["entropy"] = weight * self.settings.entropy.weight * entropy
        if self.settings.pseudo.kind != "none":
            pseudo = self._pseudo(part, image[:, 0], labelled, unlabelled, generator)
            terms["pseudo"] = weight * pseudo
        return {f"{name}_{part + 1}": term for name, term in terms.items()}

    def _translation(
        self, reference: Tensor, shifted: Tensor, start: list[list[list[int]]], rows: int
    ) -> tuple[Tensor, Tensor]:
        """Sum of the items' KL, and the mean negative entropy of their overlaps (sheet 5.2)."""
        chosen = self.settings.translation
        if chosen.logit_clamp is not None:
            reference, shifted = (t.clamp(*chosen.logit_clamp) for t in (reference, shifted))
        kl, entropies = [reference.new_zeros(())], []
        # Unbound at once: the gradient of a slice of the batch would be as large as the batch.
        views = list(zip(reference.unbind(), shifted.unbind(), start, strict=True))
        for one, other, starts in views[rows if chosen.rows == "unlabelled" else 0 :]:
            first, second = (tuple(view) for view in starts)
            boxes = overlap_boxes(first, second, self.patch)  # type: ignore[arg-type]
            if boxes is None:
                continue
            a = one[(slice(None), *boxes[0])]
            b = other[(slice(None), *boxes[1])]
            if chosen.stop_gradient:
                b = b.detach()
            kl.append(translation_kl(a, b, chosen.axis))
            entropies += [negative_entropy(a), negative_entropy(b)]
        mean = torch.stack(entropies).mean() if entropies else reference.new_zeros(())
        return torch.stack(kl).sum(), mean

    def _pseudo(
        self,
        part: int,
        image: Tensor,
        labelled: Batch,
        unlabelled: Batch,
        generator: Generator,
    ) -> Tensor:
        """Loss of network `part` on the unlabelled rows, against the pseudo-labels of its teacher.

        The teacher is the other network, or with `cotraining` off the network itself. It sees the
        clean image. Donors of CutMix may be labelled rows; what is pasted is a pseudo-label even
        then, or with `cutmix.truth` the label.
        """
        other = 1 - part if self.settings.cotraining else part
        rows, open_to = len(labelled.ids), teachable(unlabelled)
        skip = self._skipped(rows)
        if part + 1 in self.settings.cutmix.networks:
            mixture = self._mixture(image, generator)
            said = self._teach(other, image)
            if self.settings.cutmix.truth:
                said = torch.cat([truth_or_said(labelled, said[:rows]), said[rows:]])
            teacher, image = mixture.apply(said)[rows:], mixture.apply(image)
            pasted = torch.cat([open_to.new_ones(rows, *open_to.shape[1:]), open_to])
            open_to = mixture.apply(pasted[:, None])[rows:, 0]
        else:
            teacher = self._teach(other, image[skip:])[rows - skip :]
        image = image[skip:]
        if self.settings.strong != Strong():
            image = strong_view(image, self.settings.strong, generator)
        found = self.pair[part](self._noisy(image, generator))[rows - skip :]
        student = self.outputs.as_classes(at_least_float32(found))
        where = None if unlabelled.known is None else open_to
        return pseudo_loss(student, teacher, self.settings.pseudo, where)

    def _skipped(self, rows: int) -> int:
        """Labelled rows that a pass for the unlabelled ones leaves out.

        With batch statistics they shape the result and stay in, as released; without, leaving them
        out changes nothing.
        """
        return 0 if has_batch_statistics(self.pair[0]) else rows

    def _mixture(self, image: Tensor, generator: Generator) -> Mixture:
        cutmix = self.settings.cutmix
        rng = numpy_generator(generator)
        return draw_mixture(len(image), image.shape[2:], cutmix.axes, cutmix.alpha, rng)

    def _teach(self, other: int, image: Tensor) -> Tensor:
        """Pseudo-logits [B, K, X, Y, Z]; by default in training mode, as released."""
        average = self.settings.average
        teachers = self.averages if average.decay is not None and average.teaches else self.pair
        return taught_by(teachers[other], image, self.settings.pseudo.train_mode, self.outputs)

    def _noisy(self, image: Tensor, generator: Generator) -> Tensor:
        noise = self.settings.noise
        if noise.amplitude:
            image = image + uniform(
                image.shape, -noise.amplitude, noise.amplitude, image, generator
            )
        return image if noise.clip is None else image.clamp(*noise.clip)

    def after_step(self, progress: Progress) -> None:
        """Averages, if there are any, follow their networks, statistics included."""
        if self.settings.average.decay is not None:
            decay = teacher_decay(progress.step, self.settings.average.decay)
            update_ema(self.averages, self.pair, decay)
            follow_statistics(self.averages, self.pair, decay)

    def networks(self) -> Iterable[nn.Module]:
        """Network 1 and network 2."""
        return self.pair

    def predictor(self) -> Ensemble:
        """Both networks or their averages; which of the two answers is chosen when predicting."""
        average = self.settings.average
        return Ensemble(
            self.averages if average.decay is not None and average.predicts else self.pair,
            self.outputs,
        )
