"""Losses against labels, shared by the segmentation methods.

Source: TraCoCo release, sheet section 5.1.

Legend: B items, K classes, X Y Z voxels.
"""

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate, one_hot

SMOOTH = 1e-5


def at_least_float32(logits: Tensor) -> Tensor:
    """Half-precision logits as float32, others as they are: losses never run in half precision."""
    return logits.float() if logits.element_size() < 4 else logits


def dice_loss(probability: Tensor, label: Tensor) -> Tensor:
    """1 - soft Dice with squared denominators, all items pooled into one ratio per class.

    Args:
        probability: [B, K, X, Y, Z].
        label: [B, X, Y, Z] class indices.

    Returns:
        The foreground class alone for K = 2; the mean over all classes, background included, for
        more (as the release does for ACDC).
    """
    classes = probability.shape[1]
    truth = one_hot(label.long(), classes).movedim(-1, 1).to(probability.dtype)
    dims = (0, 2, 3, 4)
    joint = (probability * truth).sum(dims)
    total = (probability**2).sum(dims) + (truth**2).sum(dims)
    loss = 1 - (2 * joint + SMOOTH) / (total + SMOOTH)
    return loss[1] if classes == 2 else loss.mean()


def supervised_loss(logits: Tensor, label: Tensor, helping: Sequence[Tensor] = ()) -> Tensor:
    """Half cross-entropy, half Dice, of the answer and of heads that only help to learn it.

    With helping heads the mean over all heads, weighted 1, 1/2, 1/4 and so on as in nnU-Net
    (Isensee et al., Nature Methods 2021; its lowest heads without any weight are not made here).

    Args:
        logits: [B, K, X, Y, Z].
        label: [B, X, Y, Z] class indices; for a coarser head those of the nearest voxels.
        helping: logits [B, K, x, y, z] of further heads, see `medssl.networks.heads.heads_of`.
    """
    loss = _one_head(logits, label)
    if not helping:
        return loss
    weights = [0.5**head for head in range(len(helping) + 1)]
    losses = [loss, *(_one_head(one, _coarser(label, one.shape[2:])) for one in helping)]
    return sum(
        (weight * one for weight, one in zip(weights, losses, strict=True)), loss.new_zeros(())
    ) / sum(weights)


def _coarser(label: Tensor, shape: Sequence[int]) -> Tensor:
    """Label [B, X, Y, Z] on a grid [x, y, z]."""
    if label.shape[1:] == tuple(shape):
        return label
    return interpolate(label[:, None].float(), list(shape), mode="nearest-exact")[:, 0]


def _one_head(logits: Tensor, label: Tensor) -> Tensor:
    logits = at_least_float32(logits)
    return 0.5 * (cross_entropy(logits, label.long()) + dice_loss(logits.softmax(1), label))
