"""BCP: bidirectional copy-paste between labelled and unlabelled patches.

Source: Bai et al., CVPR 2023, arXiv 2305.00673, and its released code (sheet sections 2 to 4).

The optimiser goes on from the first stage to the second, as released for ACDC and the pancreas.

Legend: B items, C channels, K classes, X Y Z voxels; a and b are the halves of the labelled
patches, p and q those of the unlabelled ones.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Generator, Tensor

from medssl.data.batch import Batch
from medssl.data.draws import host, placed
from medssl.data.patches import Box
from medssl.infer.postprocess import largest_component
from medssl.methods.ema import follow_statistics, update_ema
from medssl.methods.method import Progress, Task
from medssl.methods.segment.labelled_loss import OnLabels
from medssl.methods.segment.losses import over_heads, region_loss
from medssl.methods.segment.passes import taught_by
from medssl.methods.segment.student_teacher import StudentTeacher
from medssl.methods.settings.bcp import Settings
from medssl.networks.heads import heads_of

LOSSES = {
    "per_item": partial(region_loss, pooled=False, squared=False),
    "pooled": partial(region_loss, smooth=1e-10),
}


def draw_box(shape: Sequence[int], share: float, generator: Generator) -> Box:
    """A box of int(share x side) voxels, its start uniform in {0, ..., side - box - 1}.

    An axis of one voxel belongs to the box as a whole.
    """
    spans = []
    for side in shape:
        size = int(share * side) if side > 1 or not share else side
        last = max(1, side - size)
        start = int(torch.randint(last, (1,), generator=host(generator)))
        spans.append(slice(start, start + size))
    x, y, z = spans
    return x, y, z


def pasted(outside: Tensor, inside: Tensor, box: Box) -> Tensor:
    """`outside` [..., X, Y, Z] with the box of `inside`; a copy."""
    mixed = outside.clone()
    mixed[(..., *box)] = inside[(..., *box)]
    return mixed


def keep_largest(label: Tensor, how: str, neighbours: Literal[6, 18, 26]) -> Tensor:
    """Labels [B, X, Y, Z], of each item the largest connected part alone, per class or in all."""
    kept = []
    for item in label.to(torch.uint8).cpu().numpy():
        if how == "per_class":
            kept.append(largest_component(item, range(1, int(item.max()) + 1), neighbours))
        else:
            whole = largest_component((item > 0).astype(item.dtype), [1], neighbours)
            kept.append(item * whole)
    return placed(torch.stack([torch.from_numpy(one) for one in kept]), label)


def halves(values: Tensor | None) -> tuple[Any, Any]:
    """The first half of some rows and the second; None of nothing."""
    if values is None:
        return None, None
    first, second = values.chunk(2)
    return first, second


def mix(image: Tensor, target: Tensor, known: Tensor, outlined: Tensor | None = None) -> Batch:
    """Mixed images [B, C, X, Y, Z] and labels [B, X, Y, Z], which are true where `known` is 1."""
    nowhere = torch.zeros(len(image), 1, 3, dtype=torch.int64)
    return Batch(image[:, None], target, nowhere, ("",) * len(image), known, outlined)


class Bcp(StudentTeacher):
    """A student that sees mixed patches alone, and its moving average, which labels them."""

    settings: Settings

    def __init__(self, settings: Settings, task: Task, seed: int) -> None:
        super().__init__(settings, task, seed)
        self.on_labels = OnLabels(LOSSES[settings.dice], task, every=True)
        if settings.first_stage == 1:
            self.streams = ("labelled",)

    def is_first_stage(self, progress: Progress) -> bool:
        """Whether only labelled patches are mixed yet."""
        return progress.step <= self.settings.first_steps(progress.steps)

    def forward(
        self, batches: dict[str, Batch], progress: Progress, generator: Generator, part: int = 0
    ) -> dict[str, Tensor]:
        """Mixed labelled patches at first; then labelled and unlabelled ones, mixed both ways."""
        labelled = batches["labelled"]
        a, b = labelled.image[:, 0].chunk(2)
        truth_a, truth_b = labelled.truth.chunk(2)
        box = draw_box(a.shape[2:], self.settings.box, generator)
        outside = torch.ones_like(truth_a)
        outside[(..., *box)] = 0
        known_a, known_b = (
            (torch.ones_like(truth_a), torch.ones_like(truth_b))
            if labelled.known is None
            else labelled.known.to(truth_a.dtype).chunk(2)
        )
        outlined_a, outlined_b = halves(labelled.outlined)
        true_a, true_b = outside * known_a, (1 - outside) * known_b
        if self.is_first_stage(progress):
            mixed, target = pasted(a, b, box), pasted(truth_a, truth_b, box)
            heads = heads_of(self.student, mixed)
            if self.settings.first_loss == "by_region":
                regions = [
                    mix(mixed, target, true_a, outlined_a),
                    mix(mixed, target, true_b, outlined_b),
                ]
            else:
                both = outlined_a & outlined_b if outlined_a is not None else None
                regions = [mix(mixed, target, true_a + true_b, both)]
            found = [self.on_labels(heads, one) for one in regions]
            return {"copy_paste": torch.stack(found).sum()}
        p, q = batches["unlabelled"].image[:, 0].chunk(2)
        partial_masks = labelled.known is not None
        pseudo_p, pseudo_q, *more = self._pseudo([p, q, a, b] if partial_masks else [p, q])
        if partial_masks:
            truth_a = torch.where(known_a > 0, truth_a, more[0])
            truth_b = torch.where(known_b > 0, truth_b, more[1])
        one, other = pasted(a, p, box), pasted(q, b, box)
        target, turned = pasted(truth_a, pseudo_p, box), pasted(pseudo_q, truth_b, box)
        return {
            "labelled_outside": self._loss(mix(one, target, true_a, outlined_a)),
            "labelled_inside": self._loss(mix(other, turned, true_b, outlined_b)),
        }

    def _pseudo(self, images: list[Tensor]) -> list[Tensor]:
        """The teacher's labels [B, X, Y, Z] uint8 of each of several images [B, C, X, Y, Z]."""
        chosen = self.settings
        labels = [
            taught_by(self.teacher, one, chosen.train_mode, self.outputs).argmax(1).to(torch.uint8)
            for one in images
        ]
        if chosen.components == "none":
            return labels
        together = keep_largest(torch.cat(labels), chosen.components, chosen.neighbours)
        return list(torch.split(together, [len(one) for one in labels]))

    def _loss(self, mixed: Batch) -> Tensor:
        """What mixed images cost: truth where it is known, and the rest with a weight."""
        heads, loss = heads_of(self.student, mixed.image[:, 0]), LOSSES[self.settings.dice]
        found, weight = self.on_labels(heads, mixed), self.settings.pseudo_weight
        if not weight or mixed.known is None:
            return found
        target = self.outputs.targets(mixed.truth)
        return found + weight * over_heads(heads, loss, target, 1 - mixed.known)

    def after_step(self, progress: Progress) -> None:
        """The teacher is the student in the first stage, and follows it in the second."""
        first = self.is_first_stage(progress)
        decay = 0.0 if first else self.settings.decay
        update_ema(self.teacher, self.student, decay)
        if first or self.settings.average_statistics:
            follow_statistics(self.teacher, self.student, decay)
