"""What labels cost a method: its own loss, or the one that the pipeline names.

Legend: B items, K classes, X Y Z voxels.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from medssl.data.batch import Batch
from medssl.errors import UsageError
from medssl.methods.method import Task
from medssl.methods.segment.gated_crf import gated_crf
from medssl.methods.segment.loss_settings import CROSS_ENTROPY, PREFIX, LossChoice
from medssl.methods.segment.losses import at_least_float32, masked_cross_entropy, over_heads


class LabelledLoss(Protocol):
    """What labels cost."""

    def __call__(self, logits: Tensor, label: Tensor, known: Tensor | None = None) -> Tensor:
        """A scalar.

        Args:
            logits: [B, K, X, Y, Z].
            label: [B, X, Y, Z] class indices.
            known: [B, X, Y, Z], false where a voxel does not count; None: nowhere.
        """


MERGED = -1e4
"""Logit of a class that is part of the background of a case."""


class OnLabels:
    """The loss of labelled patches, over all heads of a network.

    Where a case does not outline every class, those that it does not are merged with its
    background (marginal loss: Shi et al., MedIA 2021, arXiv 2007.03868; sheet of partial labels,
    section 4), and classes without a voxel cost no Dice.

    Args:
        own: the method's loss.
        task: whose `loss`, if there is one, stands in its place or beside it.
    """

    def __init__(self, own: LabelledLoss, task: Task) -> None:
        self._loss, self._chosen = own, task.loss or LossChoice()
        if self._chosen.monai is not None:
            self._loss = MonaiLabelledLoss(self._chosen, task.classes)
        elif self._chosen.name == CROSS_ENTROPY:
            self._loss = known_cross_entropy

    def __call__(self, heads: Sequence[Tensor], batch: Batch) -> Tensor:
        """The loss of a batch whose labels are read, of heads as `heads_of` gives them."""
        label, known, outlined = batch.truth, batch.known, batch.outlined
        taught = list(heads)
        if outlined is not None:
            label = label * outlined.gather(1, label.flatten(1).long()).view_as(label)
            taught = [merged(at_least_float32(head), outlined) for head in heads]
            known = torch.ones_like(label, dtype=torch.bool) if known is None else known
        loss = over_heads(taught, self._loss, label, *([] if known is None else [known]))
        crf, apart = self._chosen.gated_crf, self._chosen.exclusion
        probability = at_least_float32(heads[0]).softmax(1) if apart or crf.weight else heads[0]
        if apart and outlined is not None:
            loss = loss + apart * exclusion(probability, label, outlined)
        if crf.weight:
            loss = loss + crf.weight * gated_crf(probability, batch.image[:, 0], crf)
        return loss


def known_cross_entropy(logits: Tensor, label: Tensor, known: Tensor | None = None) -> Tensor:
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


class MonaiLabelledLoss:
    """A loss of MONAI. Voxels that do not count are left out, and the items then are one.

    Raises:
        UsageError: it refuses its arguments.
    """

    def __init__(self, chosen: LossChoice, classes: Sequence[str]) -> None:
        from monai import losses

        name, monai = str(chosen.name), chosen.monai
        kind: Callable[..., nn.Module] = getattr(losses, name.removeprefix(PREFIX))
        softmax = {monai.softmax: True} if monai else {}
        given = {"to_onehot_y": True, **softmax, **chosen.arguments}
        if chosen.weights:
            weights = [float(chosen.weights.get(name, 1)) for name in classes]
            given["weight"] = torch.tensor(weights)
        try:
            self._loss = kind(**given)
            self._tried(len(classes))
        except Exception as error:
            raise UsageError(
                f"loss.name={chosen.name} cannot be used with {dict(chosen.arguments)}",
                " ".join(str(error).split()) or type(error).__name__,
                f"see `medssl keys {chosen.name}`",
            ) from error

    def _tried(self, classes: int) -> None:
        logits = torch.zeros(1, classes, 4, 4, 4, requires_grad=True)
        label = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
        label[:, :2] = 1
        torch.autograd.backward(self(logits, label))

    def __call__(self, logits: Tensor, label: Tensor, known: Tensor | None = None) -> Tensor:
        """As `LabelledLoss`; 0 where no voxel counts."""
        logits = at_least_float32(logits)
        if known is not None:
            counted = known.bool()
            if not bool(counted.any()):
                return 0 * logits.sum()
            logits = logits.movedim(1, -1)[counted].T[None, :, :, None, None]
            label = label[counted][None, :, None, None]
        found: Tensor = self._loss.to(logits.device)(logits, label[:, None].long())
        return found
