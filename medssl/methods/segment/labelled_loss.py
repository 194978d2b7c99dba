"""What labels cost a method: its own loss, or the one that the pipeline names.

Legend: B items, K classes, X Y Z voxels.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from medssl.errors import UsageError
from medssl.methods.method import Task
from medssl.methods.segment.loss_settings import PREFIX, LossChoice
from medssl.methods.segment.losses import at_least_float32, over_heads


class LabelledLoss(Protocol):
    """What labels cost."""

    def __call__(self, logits: Tensor, label: Tensor, known: Tensor | None = None) -> Tensor:
        """A scalar.

        Args:
            logits: [B, K, X, Y, Z].
            label: [B, X, Y, Z] class indices.
            known: [B, X, Y, Z], false where a voxel does not count; None: nowhere.
        """


class OnLabels:
    """The loss of labelled patches, over all heads of a network.

    Args:
        own: the method's loss.
        task: whose `loss`, if there is one, stands in its place.
    """

    def __init__(self, own: LabelledLoss, task: Task) -> None:
        self._loss = own if task.loss is None else MonaiLabelledLoss(task.loss, task.classes)

    def __call__(
        self, heads: Sequence[Tensor], label: Tensor, known: Tensor | None = None
    ) -> Tensor:
        """As `LabelledLoss`, of heads as `medssl.networks.heads.heads_of` gives them."""
        return over_heads(heads, self._loss, label, *([] if known is None else [known]))


class MonaiLabelledLoss:
    """A loss of MONAI. Voxels that do not count are left out, and the items then are one.

    Raises:
        UsageError: it refuses its arguments.
    """

    def __init__(self, chosen: LossChoice, classes: Sequence[str]) -> None:
        from monai import losses

        kind: Callable[..., nn.Module] = getattr(losses, chosen.name.removeprefix(PREFIX))
        given = {"to_onehot_y": True, chosen.monai.softmax: True, **chosen.arguments}
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
