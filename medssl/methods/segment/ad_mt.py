"""AD-MT: one student and two teachers, moving averages that take turns.

Source: Zhao et al., ECCV 2024, arXiv 2311.17325, and facts of its released code (sheet sections 2
to 5). Both teachers begin as copies of the student; released, as other random networks, which label
until their first turn.

Legend: B items, C channels, K classes, X Y Z voxels.
"""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from math import exp

import torch
from torch import Generator, Tensor, nn

from medssl.data.batch import Batch, Stream
from medssl.data.draws import host
from medssl.data.patches import PatchSampler, SinglePatch
from medssl.methods.ema import follow_statistics, update_ema
from medssl.methods.method import Progress, SegmentMethod, Task
from medssl.methods.segment.cutmix import Mixture, draw_mixture, numpy_generator
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
from medssl.methods.segment.passes import has_batch_statistics, taught_by
from medssl.methods.segment.strong_view import strong_view
from medssl.methods.settings.ad_mt import Settings
from medssl.networks.ensemble import Ensemble
from medssl.networks.heads import heads_of


@dataclass(frozen=True)
class Pseudo:
    """What is said of unlabelled voxels; of regions, by the probabilities of classes.

    Attributes:
        label: [B, X, Y, Z] class indices.
        confidence: [B, X, Y, Z], probability of that class.
        conflict: [B, X, Y, Z] bool, where the teachers disagree.
    """

    label: Tensor
    confidence: Tensor
    conflict: Tensor

    def mixed(self, mixture: Mixture) -> "Pseudo":
        """With the boxes of a mixture pasted."""
        maps = (self.label, self.confidence, self.conflict)
        return Pseudo(*(mixture.apply(one[:, None])[:, 0] for one in maps))

    def overruled(self, probability: Tensor) -> "Pseudo":
        """Where the teachers disagree, by a student [B, K, X, Y, Z] that is surer of another."""
        confidence, label = probability.max(1)
        wins = self.conflict & (label != self.label) & (confidence > self.confidence)
        return Pseudo(
            torch.where(wins, label, self.label),
            torch.where(wins, confidence, self.confidence),
            self.conflict,
        )


def entropy_bits(probability: Tensor) -> Tensor:
    """Entropy in bits, [B, X, Y, Z], of probabilities [B, K, X, Y, Z]."""
    return -(probability * (probability + 1e-10).log2()).sum(1)


def combined(first: Tensor, second: Tensor) -> Pseudo:
    """Two teachers' probabilities [B, K, X, Y, Z], the surer weighing more, voxel by voxel."""
    sure_1, sure_2 = (-entropy_bits(first)).exp(), (-entropy_bits(second)).exp()
    share = (sure_1 / (sure_1 + sure_2)).unsqueeze(1)
    confidence, label = (share * first + (1 - share) * second).max(1)
    return Pseudo(label, confidence, first.argmax(1) != second.argmax(1))


def pseudo_weight(step: int, settings: Settings) -> float:
    """Weight of the pseudo-labels, a Gaussian ramp in stairs (sheet section 4).

    Steps count from 1.
    """
    stairs = settings.rampup_steps / settings.rampup_every
    climbed = min((step - 1) // settings.rampup_every, stairs)
    return settings.weight * exp(-5 * (1 - climbed / stairs) ** 2)


def teacher_decay(step: int, settings: Settings) -> float:
    """0 at first, then a true average over every second step, exponential later."""
    since = (step - 1 - settings.copied_steps) // 2
    return min(1 - 1 / (since + 1), settings.decay) if since >= 0 else 0.0


class AdMt(SegmentMethod):
    """A student, and two teachers of which one at a time follows it."""

    streams: tuple[Stream, ...] = ("labelled", "unlabelled")
    on_host = ("turns",)
    turns: Tensor

    def __init__(self, settings: Settings, task: Task, seed: int) -> None:
        super().__init__()
        self.settings = settings
        self.on_labels = OnLabels(every_class_loss, task)
        self.outputs = task.outputs
        self.student = task.new_network(1000 * seed)
        self.teachers = nn.ModuleList(
            deepcopy(self.student).requires_grad_(False) for _ in range(2)
        )
        g = torch.Generator().manual_seed(seed)
        # Whose turn it is, its steps so far, and how many it is to have.
        self.register_buffer("turns", torch.tensor([0, 0, self._length(g)]))
        self._next_length = 1

    def _length(self, generator: Generator) -> int:
        """Steps of a turn, uniform from 1 to the longest."""
        longest = self.settings.longest_turn
        return int(torch.randint(1, longest + 1, (1,), generator=host(generator)))

    def sampler(self, patch: tuple[int, int, int]) -> PatchSampler:
        """Uniform single patches."""
        return SinglePatch(patch)

    def forward(
        self, batches: dict[str, Batch], progress: Progress, generator: Generator, part: int = 0
    ) -> dict[str, Tensor]:
        """Labels, and what both teachers say of weak views, taught on strong ones."""
        chosen, (labelled, unlabelled) = self.settings, streams(batches)
        image, weak, open_to = labelled.image[:, 0], unlabelled.image[:, 0], teachable(unlabelled)
        turn, rows = int(self.turns[0]), len(image)
        self._next_length = self._length(generator)
        first, second = (
            taught_by(teacher, weak, number == turn, self.outputs).softmax(1)
            for number, teacher in enumerate(self.teachers)
        )
        mixture = self._mixture(weak, generator) if turn == 1 else None
        if mixture is None:
            strong = strong_view(weak, chosen.strong, generator)
        else:
            strong = mixture.apply(weak)
            open_to = mixture.apply(open_to[:, None])[:, 0]
        heads, own = self._answers(image, weak, strong)
        target = self._target(combined(first, second), own, mixture)
        on_labels = self.on_labels([head[:rows] for head in heads], labelled, progress)
        sure = (target.confidence >= chosen.threshold) & open_to
        on_strong = over_heads(
            [head[rows:] for head in heads],
            self._pseudo_loss,
            self.outputs.targets(target.label),
            sure,
        )
        weight = pseudo_weight(progress.step, chosen)
        return {"supervised": on_labels, "pseudo": weight * on_strong}

    def _mixture(self, image: Tensor, generator: Generator) -> Mixture:
        cutmix, rng = self.settings.cutmix, numpy_generator(generator)
        return draw_mixture(len(image), image.shape[2:], "xyz", cutmix.alpha, rng, cutmix.side)

    def _answers(self, image: Tensor, weak: Tensor, strong: Tensor) -> tuple[list[Tensor], Tensor]:
        """Heads on labelled and strong patches, and probabilities of the weak ones.

        The latter enter the loss through batch statistics alone: without such they get a pass of
        their own, of which no gradient is kept.
        """
        if not has_batch_statistics(self.student):
            own = taught_by(self.student, weak, True, self.outputs).softmax(1)
            return heads_of(self.student, torch.cat([image, strong])), own
        heads = heads_of(self.student, torch.cat([image, weak, strong]))
        start, stop = len(image), len(image) + len(weak)
        own = self.outputs.as_classes(at_least_float32(heads[0][start:stop].detach())).softmax(1)
        return [torch.cat([head[:start], head[stop:]]) for head in heads], own

    def _target(self, said: Pseudo, own: Tensor, mixture: Mixture | None) -> Pseudo:
        """What is taught on the strong views, of what the teachers said of the weak ones."""
        how = self.settings.overrule
        if how == "aligned":
            said = said.overruled(own)
        if mixture is not None:
            said = said.mixed(mixture)
        return said.overruled(own) if how == "released" else said

    def _pseudo_loss(self, logits: Tensor, label: Tensor, sure: Tensor) -> Tensor:
        """Loss of the voxels that are sure enough; 0 where there are none."""
        logits = at_least_float32(logits)
        if self.settings.loss == "dice":
            return masked_dice(probabilities(logits, label), label, sure)
        return masked_cross_entropy(logits, label, sure)

    def after_step(self, progress: Progress) -> None:
        """The teacher whose turn it is follows the student, statistics included."""
        turn, done, length = self.turns.tolist()
        decay = teacher_decay(progress.step, self.settings)
        update_ema(self.teachers[turn], self.student, decay)
        follow_statistics(self.teachers[turn], self.student, decay)
        ended = done + 1 >= length
        after = [1 - turn, 0, self._next_length] if ended else [turn, done + 1, length]
        self.turns.copy_(torch.tensor(after))

    def networks(self) -> Iterable[nn.Module]:
        """The student; the teachers have no gradient."""
        yield self.student

    def predictor(self) -> Ensemble:
        """Who answers, as `method.predictor` says."""
        first, second = self.teachers
        who = {
            "student": [self.student],
            "teacher_1": [first],
            "teacher_2": [second],
            "teachers": [first, second],
        }
        return Ensemble(who[self.settings.predictor], self.outputs)
