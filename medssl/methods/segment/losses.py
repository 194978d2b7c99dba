"""Losses against labels, shared by the segmentation methods.

Source: TraCoCo release, sheet section 5.1.

Legend: B items, K classes, X Y Z voxels.
"""

from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

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


def supervised_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Half cross-entropy, half Dice; logits [B, K, X, Y, Z], label [B, X, Y, Z]."""
    logits = at_least_float32(logits)
    return 0.5 * (cross_entropy(logits, label.long()) + dice_loss(logits.softmax(1), label))
