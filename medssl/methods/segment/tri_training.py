"""Tri-training, and tri-training with disagreement: what two networks say alike teaches the third.

Sources: Zhou & Li, IEEE TKDE 2005; Soegaard, ACL 2010; their sheet, sections 1, 3 and 4. See
`medssl.methods.segment.rounds` for what is classically otherwise. The errors of two members are
measured on labelled patients whom neither had in its first bootstrap; later rounds learn from all
labels, as in the paper, so that these are then no strangers any more.

Legend: B items, K classes, X Y Z voxels.
"""

from collections.abc import Sequence
from math import ceil, floor, sqrt

import numpy as np
import torch
from torch import Generator, Tensor

from medssl.data.batch import Batch
from medssl.methods.method import LabelledCase, Progress, Task
from medssl.methods.segment.labelled_loss import OnLabels
from medssl.methods.segment.losses import (
    at_least_float32,
    masked_cross_entropy,
    over_heads,
    region_loss,
    supervised_loss,
)
from medssl.methods.segment.partial import streams, teachable
from medssl.methods.segment.rounds import InRounds, ramp
from medssl.methods.settings.tri_training import Settings
from medssl.networks.heads import heads_of

MEMBERS = 3
REDRAWN = 50
ENOUGH = 30
"""Labelled cases out of bag from which on errors are exact enough for the rule of sizes."""


def bootstrap(cases: Sequence[LabelledCase], rng: np.random.Generator) -> list[int]:
    """How often each case is in a bootstrap of the patients; 0: it is out of bag.

    Drawn again until every class is in it; after 50 draws each case is in it once.
    """
    patients = sorted({case.patient for case in cases})
    wanted = {one for case in cases for one in case.classes}
    for _ in range(REDRAWN):
        drawn = rng.choice(len(patients), len(patients))
        counts = dict(zip(patients, np.bincount(drawn, minlength=len(patients)), strict=True))
        if wanted <= {one for case in cases if counts[case.patient] for one in case.classes}:
            return [int(counts[case.patient]) for case in cases]
    return [1] * len(cases)


def accepted_size(error: float, last_error: float, last_size: int, size: int) -> int:
    """How many of `size` examples a member may learn from; 0: it stays as it is (sheet section 1).

    Args:
        error: share of wrong labels among those on which its two teachers agree.
        last_error: the same when it last learnt.
        last_size: how many examples it then had; 0 at first.
    """
    if error >= last_error:
        return 0
    last_size = last_size or floor(error / (last_error - error) + 1)
    if last_size >= size:
        return 0
    if error * size < last_error * last_size:
        return size
    if last_size > error / (last_error - error):
        return ceil(round(last_error * last_size / error - 1, 9))
    return 0


def agreement(labels: Sequence[Tensor], member: int, disagreement: bool) -> tuple[Tensor, Tensor]:
    """What the two others say, [B, X, Y, Z], and where they teach the member.

    Args:
        labels: [B, X, Y, Z] of each of the three.
        disagreement: only where the member says otherwise.
    """
    own = labels[member]
    first, second = (one for index, one in enumerate(labels) if index != member)
    mask = first == second
    return first, mask & (own != first) if disagreement else mask


def mean_dice(one: Tensor, other: Tensor, seen: Tensor, classes: int) -> Tensor:
    """[B]: mean Dice of labels [B, X, Y, Z] over the foreground classes that are in either.

    Over the voxels `seen`; 1 where none of these classes is in any.
    """
    pairs = [((one == value) & seen, (other == value) & seen) for value in range(1, classes)]
    joint = torch.stack([(a & b).flatten(1).sum(1) for a, b in pairs])
    total = torch.stack([a.flatten(1).sum(1) + b.flatten(1).sum(1) for a, b in pairs])
    present = total > 0
    dice = 2 * joint / total.clamp_min(1)
    count = present.sum(0)
    return torch.where(count > 0, dice.sum(0) / count.clamp_min(1), 1.0)


class TriTraining(InRounds):
    """Three members; each is taught by the two others as they were when the last round ended."""

    on_host = ("seed", "bags", "last", "used")
    bags: Tensor
    errors: Tensor
    last: Tensor
    used: Tensor

    def __init__(self, settings: Settings, task: Task, seed: int) -> None:
        super().__init__(task, seed, MEMBERS, settings.rounds, settings.warm)
        self.settings, self.classes = settings, len(task.classes)
        self.on_labels = OnLabels(supervised_loss, task)
        # How often each labelled case is in the bootstrap of each member.
        drawn = [
            bootstrap(task.labelled, np.random.default_rng([seed, member]))
            for member in range(MEMBERS)
        ]
        self.register_buffer("bags", torch.tensor(drawn))
        # Of each member: patches measured, their errors and squares summed, patches agreed on.
        self.register_buffer("errors", torch.zeros(MEMBERS, 4, dtype=torch.float64))
        # Error and size when it last learnt.
        self.register_buffer("last", torch.tensor([[0.5, 0.0]] * MEMBERS, dtype=torch.float64))
        # Share of the patches agreed on that it learns from in this round; 0: it stays as it was.
        self.register_buffer("used", torch.ones(MEMBERS, dtype=torch.float64))

    def forward(
        self, batches: dict[str, Batch], progress: Progress, generator: Generator, part: int = 0
    ) -> dict[str, Tensor]:
        """Labels of one member; after the first round what the two others agree on as well."""
        number, within = self.begin(progress) if part == 0 else progress.within(self.rounds)
        chosen, labelled, network = self.settings, batches["labelled"], self.members[part]
        heads = heads_of(network, labelled.image[:, 0])
        copies = self._copies(part, labelled.ids) if number == 0 else [1] * len(labelled.ids)
        terms = {"supervised": self._supervised(heads, labelled, copies, progress)}
        if number and self.is_measuring(within):
            self._measure(batches, part)
        elif weight := ramp(number, within, chosen.weight, chosen.rampup, chosen.measured):
            _, unlabelled = streams(batches)
            image = unlabelled.image[:, 0]
            label, mask = self._taught(image, part, generator)
            mask = mask & teachable(unlabelled)
            loss = self._on_disagreement if chosen.disagreement else region_loss
            target = self.task.outputs.targets(label)
            terms["pseudo"] = weight * over_heads(heads_of(network, image), loss, target, mask)
        return {f"{name}_{part + 1}": term for name, term in terms.items()}

    def is_measuring(self, within: Progress) -> bool:
        """Whether teachers are only measured yet in this step of a round."""
        return within.step <= round(self.settings.measured * within.steps)

    def _copies(self, member: int, ids: Sequence[str]) -> list[int]:
        """How often cases are in the bootstrap of a member; once if they are not known."""
        counts = self.bags[member].tolist()
        known = dict(zip((case.id for case in self.task.labelled), counts, strict=True))
        return [known.get(one, 1) for one in ids]

    def _supervised(
        self, heads: list[Tensor], batch: Batch, copies: Sequence[int], progress: Progress
    ) -> Tensor:
        """Loss of the labelled rows, each as often as it is in the member's bootstrap."""
        if set(copies) == {1}:
            return self.on_labels(heads, batch, progress)
        rows = [
            number
            * self.on_labels([head[row : row + 1] for head in heads], batch.rows([row]), progress)
            for row, number in enumerate(copies)
        ]
        return torch.stack(rows).mean()

    @staticmethod
    def _on_disagreement(logits: Tensor, label: Tensor, mask: Tensor) -> Tensor:
        """Without a Dice, which means nothing on a thin shell."""
        return masked_cross_entropy(at_least_float32(logits), label, mask)

    def _labels(self, image: Tensor) -> list[Tensor]:
        return [one.argmax(1) for one in self.said(image)]

    def _passes(self, labels: Sequence[Tensor], part: int) -> Tensor:
        """[B]: whether the two others agree on a patch well enough to teach."""
        first, second = (one for index, one in enumerate(labels) if index != part)
        everywhere = torch.ones_like(first, dtype=torch.bool)
        return mean_dice(first, second, everywhere, self.classes) >= self.settings.gate

    def _taught(self, image: Tensor, part: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Labels and mask [B, X, Y, Z] for one member."""
        chosen, labels = self.settings, self._labels(image)
        label, mask = agreement(labels, part, chosen.disagreement)
        if chosen.disagreement and chosen.agreed_share:
            same = (labels[0] == labels[1]) & (labels[1] == labels[2])
            drawn = torch.rand(same.shape, generator=generator, device=same.device)
            mask = mask | (same & (drawn < chosen.agreed_share))
        kept = torch.rand(len(image), generator=generator, device=image.device)
        passes = self._passes(labels, part) & (kept < self.used[part])
        return label, mask & passes[:, None, None, None]

    @torch.no_grad()
    def _measure(self, batches: dict[str, Batch], part: int) -> None:
        """Errors of what the two others agree on, on labels out of bag; patches agreed on."""
        labelled, unlabelled = streams(batches)
        others = [self._copies(index, labelled.ids) for index in range(MEMBERS) if index != part]
        rows = [row for row, copies in enumerate(zip(*others, strict=True)) if not any(copies)]
        if rows:
            said, agreed = agreement(self._labels(labelled.image[rows, 0]), part, False)
            if labelled.known is not None:
                agreed = agreed & labelled.known[rows]
            error = 1 - mean_dice(said, labelled.truth[rows], agreed, self.classes)
            self.errors[part, :3] += torch.stack([torch.ones_like(error), error, error**2]).sum(1)
        passes = self._passes(self._labels(unlabelled.image[:, 0]), part)
        self.errors[part, 3] += passes.sum()

    def _decide(self, part: int) -> float:
        """Share of the patches agreed on that a member learns from in this round."""
        count, total, squares, size = self.errors[part].tolist()
        if not count:
            return 1.0  # nobody is out of both bags
        error, (last_error, last_size) = total / count, self.last[part].tolist()
        others = [index for index in range(MEMBERS) if index != part]
        cases = int((self.bags[others] == 0).all(0).sum())
        if cases >= ENOUGH:
            found = accepted_size(error, last_error, int(last_size), int(size))
        else:
            deviation = sqrt(max(0.0, squares / count - error**2) / count)
            found = int(size) if error <= last_error + deviation else 0
        if found:
            self.last[part] = self.last.new_tensor([error, found])
        return found / size if size else 0.0

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        """Decide who learns once all are measured; a member that does not stays as it was."""
        number, within = progress.within(self.rounds)
        length = round(self.settings.measured * within.steps)
        if number and within.step == length:
            decided = [self._decide(part) for part in range(MEMBERS)]
            self.used.copy_(self.used.new_tensor(decided))
            self.errors.zero_()
        if number and within.step >= length:
            for part, share in enumerate(self.used.tolist()):
                if not share:
                    self.members[part].load_state_dict(self.teachers[part].state_dict())
