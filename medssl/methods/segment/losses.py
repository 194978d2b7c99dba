"""Losses against labels, shared by the segmentation methods.

Sources: TraCoCo release, sheet section 5.1; BCP release, sheet section 4.

Labels are class indices [B, X, Y, Z], of logits [B, K, X, Y, Z] whose softmax are probabilities, or
which regions hold a voxel, [B, R, X, Y, Z] of true and false, of logits [B, R, X, Y, Z] whose
sigmoids are probabilities (sheet of partial labels, section 5). Of regions cross-entropy is the
binary one, the mean over voxels and regions, and Dice the mean over all of them, as there is no
background.

Legend: B items, K classes, R regions, X Y Z voxels, x y z those of a coarser head.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    interpolate,
    one_hot,
)

from medssl.methods.settings import Dice

SMOOTH = 1e-5


def at_least_float32(logits: Tensor) -> Tensor:
    """Half-precision logits as float32, others as they are: losses never run in half precision."""
    return logits.float() if logits.element_size() < 4 else logits


def of_regions(label: Tensor) -> bool:
    """Whether labels say which regions hold a voxel."""
    return label.ndim == 5


def probabilities(logits: Tensor, label: Tensor) -> Tensor:
    """Softmax, or sigmoid where labels are of regions."""
    return logits.sigmoid() if of_regions(label) else logits.softmax(1)


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


def supervised_loss(
    logits: Tensor,
    label: Tensor,
    known: Tensor | None = None,
    dice: Dice = "squares",
    facts: Tensor | None = None,
) -> Tensor:
    """Half cross-entropy, half Dice.

    Args:
        logits: [B, K, X, Y, Z].
        label: [B, X, Y, Z] class indices, or [B, R, X, Y, Z] of regions.
        known: [B, X, Y, Z], false where a voxel teaches nothing; None: nowhere. Then classes
            without a known voxel cost no Dice (sheet of partial labels, section 1). Of regions
            also [B, R, X, Y, Z].
        facts: see `masked_dice`; None: absent if all voxels are known.
        dice: which Dice; all but "squares" are nnU-Net's (sheet of planning, section 3.1), whose
            loss is twice this one less 1.
    """
    logits, absent = at_least_float32(logits), _absent(known, facts)
    if dice != "squares" or of_regions(label):
        seen = torch.ones_like(label) if known is None else known
        pooled, squared = dice != "per_item", dice == "squares"
        return region_loss(logits, label, seen, pooled, squared, background=False, absent=absent)
    if known is not None:
        background = logits.shape[1] > 2
        return region_loss(logits, label, known, background=background, absent=absent)
    return 0.5 * (cross_entropy(logits, label.long()) + dice_loss(logits.softmax(1), label))


def every_class_loss(
    logits: Tensor, label: Tensor, known: Tensor | None = None, facts: Tensor | None = None
) -> Tensor:
    """`region_loss` over all voxels, or over those that are known."""
    seen = torch.ones_like(label) if known is None else known
    return region_loss(logits, label, seen, absent=_absent(known, facts))


def _absent(known: Tensor | None, facts: Tensor | None) -> bool | Tensor:
    """Whether classes without a voxel are absent, see `masked_dice`."""
    if known is None:
        return True
    return False if facts is None else facts


def over_heads(heads: Sequence[Tensor], loss: Callable[..., Tensor], *maps: Tensor) -> Tensor:
    """Mean of `loss(logits, *maps)` over all heads, weighted 1, 1/2, 1/4 and so on.

    As in nnU-Net (Isensee et al., Nature Methods 2021; its lowest heads without any weight are not
    made here).

    Args:
        heads: logits; see `medssl.networks.heads.heads_of`.
        maps: [B, X, Y, Z] or [B, R, X, Y, Z] each; a coarser head gets the values of the nearest
            voxels.
    """
    first = loss(heads[0], *maps)
    if len(heads) == 1:
        return first
    weights = [0.5**head for head in range(len(heads))]
    losses = [
        first,
        *(loss(one, *(_coarser(each, one.shape[2:]) for each in maps)) for one in heads[1:]),
    ]
    return sum(
        (weight * one for weight, one in zip(weights, losses, strict=True)), first.new_zeros(())
    ) / sum(weights)


def _coarser(values: Tensor, shape: Sequence[int]) -> Tensor:
    """Values [B, X, Y, Z] or [B, R, X, Y, Z] on a grid [x, y, z]."""
    if values.shape[-3:] == tuple(shape):
        return values
    maps = values if values.ndim == 5 else values[:, None]
    coarse = interpolate(maps.float(), list(shape), mode="nearest-exact")
    return coarse if values.ndim == 5 else coarse[:, 0]


def masked_dice(
    probability: Tensor,
    label: Tensor,
    mask: Tensor,
    pooled: bool = True,
    squared: bool = True,
    smooth: float = SMOOTH,
    background: bool = True,
    absent: bool | Tensor = True,
) -> Tensor:
    """1 - soft Dice over the voxels of a mask, mean over all classes.

    A class without a voxel in both costs nothing, and so does an empty mask.

    Args:
        probability: [B, K, X, Y, Z].
        label: [B, X, Y, Z] class indices, or [B, R, X, Y, Z] of regions.
        mask: [B, X, Y, Z], of true and false or of 1 and 0; of regions also [B, R, X, Y, Z].
        pooled: one ratio for all items together; otherwise one each, of which the mean is taken.
        squared: denominators of squares.
        smooth: added above and below.
        background: whether it is one of the classes; of regions none is.
        absent: whether classes without a true voxel in the mask count; they cost nothing otherwise,
            and the mean is that of the others. [B, K] or [B, 1] bool: in which items.
    """
    seen = _by_channel(mask).to(probability.dtype)
    if of_regions(label):
        truth, background = label.to(probability.dtype), True
    else:
        truth = one_hot(label.long(), probability.shape[1]).movedim(-1, 1).to(probability.dtype)
    dims = (0, 2, 3, 4) if pooled else (2, 3, 4)
    joint = (probability * truth * seen).sum(dims)
    power = probability**2 if squared else probability
    total = ((power + truth) * seen).sum(dims)
    first = 0 if background else 1
    ratio = ((2 * joint + smooth) / (total + smooth))[..., first:]
    if absent is True:
        return 1 - ratio.mean()
    present = ((truth * seen).sum(dims) > 0)[..., first:]
    if isinstance(absent, Tensor):
        facts = absent.expand(len(absent), probability.shape[1])[:, first:]
        present = present | (facts.any(0) if pooled else facts)
    return torch.where(present, 1 - ratio, 0).sum() / present.sum().clamp_min(1)


def _by_channel(mask: Tensor) -> Tensor:
    """A mask [B, X, Y, Z] as [B, 1, X, Y, Z]; one of regions as it is."""
    return mask if mask.ndim == 5 else mask.unsqueeze(1)


def masked_cross_entropy(logits: Tensor, label: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of logits [B, K, X, Y, Z], mean over the voxels of a mask; 0 if it is empty.

    Of regions over voxels and regions. nnU-Net's binary one divides by voxels alone where some are
    ignored, and by both where none is.
    """
    if of_regions(label):
        seen = _by_channel(mask).expand_as(label).to(logits.dtype)
        values = binary_cross_entropy_with_logits(logits, label.to(logits.dtype), reduction="none")
    else:
        seen = mask.to(logits.dtype)
        values = cross_entropy(logits, label.long(), reduction="none")
    return (values * seen).sum() / seen.sum().clamp_min(1)


def region_loss(
    logits: Tensor,
    label: Tensor,
    mask: Tensor,
    pooled: bool = True,
    squared: bool = True,
    smooth: float = SMOOTH,
    background: bool = True,
    absent: bool | Tensor = True,
) -> Tensor:
    """Half cross-entropy, half Dice over the voxels of a mask; see `masked_dice`."""
    logits = at_least_float32(logits)
    given = probabilities(logits, label), label, mask, pooled, squared, smooth, background, absent
    dice = masked_dice(*given)
    return 0.5 * (masked_cross_entropy(logits, label, mask) + dice)
