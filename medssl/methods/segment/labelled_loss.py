"""What labels cost a method: its own loss, or the one that the pipeline names.

Legend: B items, K classes, X Y Z voxels.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from medssl.data.batch import Batch
from medssl.errors import UsageError
from medssl.methods.method import Progress, Task
from medssl.methods.segment.gated_crf import gated_crf
from medssl.methods.segment.loss_settings import CROSS_ENTROPY, PREFIX, LossChoice
from medssl.methods.segment.losses import (
    at_least_float32,
    masked_cross_entropy,
    of_regions,
    over_heads,
)
from medssl.methods.segment.propagation import propagated
from medssl.networks.outputs import Outputs


class LabelledLoss(Protocol):
    """What labels cost."""

    def __call__(
        self,
        logits: Tensor,
        label: Tensor,
        known: Tensor | None = None,
        facts: Tensor | None = None,
    ) -> Tensor:
        """A scalar.

        Args:
            logits: [B, K, X, Y, Z].
            label: [B, X, Y, Z] class indices, or [B, R, X, Y, Z] of regions.
            known: [B, X, Y, Z], of regions also [B, R, X, Y, Z], false where a voxel does not
                count; None: nowhere. Weights of voxels if it is no bool.
            facts: [B, K] or [B, 1] bool, where a class without a voxel is really absent and costs
                a Dice; None: everywhere.
        """


BEGINNING = Progress(1, 1)

MERGED = -1e4
"""Logit of a class that is part of the background of a case."""


class OnLabels:
    """The loss of labelled patches, over all heads of a network.

    Where a case does not outline every class, those that it does not are merged with its
    background (marginal loss: Shi et al., MedIA 2021, arXiv 2007.03868; sheet of partial labels,
    section 4), and classes without a voxel cost no Dice unless they are known to be absent. Of
    regions, those that a case does not outline are not learnt from it.

    Args:
        own: the method's loss.
        task: whose `loss`, if there is one, stands in its place or beside it.
        every: whether classes without a voxel always count, so that the loss takes no `facts`.
    """

    def __init__(self, own: Callable[..., Tensor], task: Task, every: bool = False) -> None:
        self._every = every
        self._loss: Callable[..., Tensor] = own
        self._chosen, self._outputs = task.loss or LossChoice(), task.outputs
        if self._chosen.monai is not None:
            self._loss = MonaiLabelledLoss(self._chosen, task.outputs)
        elif self._chosen.name == CROSS_ENTROPY:
            self._loss = known_cross_entropy

    def __call__(
        self, heads: Sequence[Tensor], batch: Batch, progress: Progress = BEGINNING
    ) -> Tensor:
        """The loss of a batch whose labels are read, of heads as `heads_of` gives them."""
        outputs, outlined = self._outputs, batch.outlined
        learn = self._regions if outputs.regions else self._classes
        label, known, facts = batch.truth, batch.known, absences(batch)
        if known is not None and self._chosen.slices.axes:
            label, known = propagated(label, known, self._chosen.slices, progress)
        loss = learn(heads, label, known, outlined, facts)
        crf, apart = self._chosen.gated_crf, self._chosen.exclusion
        first = at_least_float32(heads[0]) if apart or crf.weight else heads[0]
        if apart and outlined is not None:
            marks = outputs.targets(batch.truth) if outputs.regions else None
            if marks is None:
                loss = loss + apart * exclusion(first.softmax(1), batch.truth, outlined)
            else:
                found = exclusion_of_regions(first.sigmoid(), marks, outlined, outputs.disjoint)
                loss = loss + apart * found
        if crf.weight:
            probability = outputs.as_classes(first).softmax(1)
            loss = loss + crf.weight * gated_crf(probability, batch.image[:, 0], crf)
        return loss

    def _classes(
        self,
        heads: Sequence[Tensor],
        label: Tensor,
        known: Tensor | None,
        outlined: Tensor | None,
        facts: Tensor | None,
    ) -> Tensor:
        taught = list(heads)
        if outlined is not None:
            label = only_outlined(label, outlined)
            taught = [merged(at_least_float32(head), outlined) for head in heads]
            known = torch.ones_like(label, dtype=torch.bool) if known is None else known
        loss = self._loss if self._every else partial(self._loss, facts=facts)
        return over_heads(taught, loss, label, *([] if known is None else [known]))

    def _regions(
        self,
        heads: Sequence[Tensor],
        label: Tensor,
        known: Tensor | None,
        outlined: Tensor | None,
        facts: Tensor | None,
    ) -> Tensor:
        inside = self._outputs.targets(label)
        if outlined is not None:
            learnt = outlined[:, :, None, None, None].expand_as(inside)
            known = learnt if known is None else learnt * known[:, None]
        loss = self._loss if self._every else partial(self._loss, facts=facts)
        return over_heads(heads, loss, inside, *([] if known is None else [known]))


def absences(batch: Batch) -> Tensor | None:
    """[B, K] bool: where it is a fact that an item lacks what its mask does not mark.

    That is of a class that is outlined in a mask without ignored voxels, in the item if not in the
    case. None: everywhere.
    """
    if batch.known is None:
        return batch.outlined
    whole = batch.known.flatten(1).bool().all(1, keepdim=True)
    return whole if batch.outlined is None else whole & batch.outlined


def only_outlined(label: Tensor, outlined: Tensor) -> Tensor:
    """Class indices [B, X, Y, Z], background where they are of a class that is not outlined."""
    return label * outlined.gather(1, label.flatten(1).long()).view_as(label)


def known_cross_entropy(
    logits: Tensor, label: Tensor, known: Tensor | None = None, facts: Tensor | None = None
) -> Tensor:
    """Cross-entropy alone, over the voxels that are known."""
    seen = torch.ones_like(label) if known is None else known
    return masked_cross_entropy(at_least_float32(logits), label, seen)


def merged(logits: Tensor, outlined: Tensor) -> Tensor:
    """Logits [B, K, X, Y, Z], in which classes that a case does not outline join its background.

    Args:
        outlined: [B, K] bool, background among them.
    """
    apart = outlined[:, :, None, None, None]
    inside = apart.clone()
    inside[:, 0] = False
    background = logits.masked_fill(inside, -torch.inf).logsumexp(1, keepdim=True)
    return torch.cat([background, logits.masked_fill(~apart, MERGED)[:, 1:]], dim=1)


def exclusion(probability: Tensor, label: Tensor, outlined: Tensor) -> Tensor:
    """Overlap of classes that a case does not outline with the classes that it marks.

    2 sum(e p) / (sum(e) + sum(p)) of each such class, e being 1 where any class is marked; the
    mean over all of them, 0 where there is none.

    Args:
        probability: [B, K, X, Y, Z].
        label: [B, X, Y, Z] class indices.
        outlined: [B, K] bool, background among them.
    """
    marked = (label > 0).to(probability.dtype).unsqueeze(1)
    dims = (2, 3, 4)
    joint, total = (probability * marked).sum(dims), marked.sum(dims) + probability.sum(dims)
    left_out = ~outlined
    return torch.where(left_out, 2 * joint / total, 0).sum() / left_out.sum().clamp_min(1)


def exclusion_of_regions(
    probability: Tensor, inside: Tensor, outlined: Tensor, disjoint: Tensor
) -> Tensor:
    """Overlap of regions that a case does not outline with those that it does.

    As `exclusion`, for each region over the outlined ones that share no label with it, as others
    may well lie in it.

    Args:
        probability: [B, R, X, Y, Z].
        inside: [B, R, X, Y, Z] bool, which regions masks mark.
        outlined: [B, R] bool.
        disjoint: [R, R] bool, which regions share no label.
    """
    marks = (inside & outlined[:, :, None, None, None]).to(probability.dtype)
    apart = disjoint.to(probability)
    marked = torch.einsum("rq,bqxyz->brxyz", apart, marks).clamp_max(1)
    dims = (2, 3, 4)
    joint, total = (probability * marked).sum(dims), (marked + probability).sum(dims)
    left_out = ~outlined
    return torch.where(left_out, 2 * joint / total, 0).sum() / left_out.sum().clamp_min(1)


class MonaiLabelledLoss:
    """A loss of MONAI. Voxels that do not count are left out, and the items then are one.

    Of regions each is a channel with a sigmoid; where known voxels differ between them, the loss is
    the mean over the regions, each by itself.

    Raises:
        UsageError: it refuses its arguments.
    """

    def __init__(self, chosen: LossChoice, outputs: Outputs) -> None:
        from monai import losses

        name, monai = str(chosen.name), chosen.monai
        kind: Callable[..., nn.Module] = getattr(losses, name.removeprefix(PREFIX))
        self._outputs = outputs
        softmax = {monai.softmax: True} if monai else {}
        given: dict[str, Any] = {"to_onehot_y": True, **softmax, **chosen.arguments}
        if outputs.regions:
            sigmoid = {"sigmoid": True} if monai and monai.softmax == "softmax" else {}
            given = {"include_background": True, **sigmoid, **chosen.arguments}
        self._weights = [float(chosen.weights.get(name, 1)) for name in outputs.names]
        if chosen.weights:
            given["weight"] = torch.tensor(self._weights)
        try:
            self._loss = kind(**given)
            self._tried()
        except Exception as error:
            raise UsageError(
                f"loss.name={chosen.name} cannot be used with {dict(chosen.arguments)}",
                " ".join(str(error).split()) or type(error).__name__,
                f"see `medssl keys {chosen.name}`",
            ) from error

    def _tried(self) -> None:
        logits = torch.zeros(1, self._outputs.count, 4, 4, 4, requires_grad=True)
        label = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
        label[:, :2] = 1
        torch.autograd.backward(self(logits, self._outputs.targets(label)))

    def __call__(
        self,
        logits: Tensor,
        label: Tensor,
        known: Tensor | None = None,
        facts: Tensor | None = None,
    ) -> Tensor:
        """As `LabelledLoss`; 0 where no voxel counts."""
        logits = at_least_float32(logits)
        target = label.to(logits.dtype) if of_regions(label) else label[:, None].long()
        if known is None:
            return self._found(logits, target)
        if known.ndim == 4:
            return self._where(logits, target, known)
        each = [
            weight * self._where(logits[:, [one]], target[:, [one]], known[:, one])
            for one, weight in enumerate(self._weights)
        ]
        return torch.stack(each).mean()

    def _where(self, logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
        """The loss of the voxels that are known."""
        counted = known.bool()
        if not bool(counted.any()):
            return 0 * logits.sum()
        logits, target = (
            one.movedim(1, -1)[counted].T[None, :, :, None, None] for one in (logits, target)
        )
        return self._found(logits, target)

    def _found(self, logits: Tensor, target: Tensor) -> Tensor:
        found: Tensor = self._loss.to(logits.device)(logits, target)
        return found
