"""Hidden slices of a volume, which the transformer tells from the others.

Source: joint 2D-3D pre-training (sheet, sections 3, 4 and 10).

Legend: B volumes, N slices, E features of an embedding.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.nn.functional import normalize

from medssl.methods.settings.joint2d3d import Masking


@torch.no_grad()
def draw_mask(valid: Tensor, share: float, generator: Generator) -> Tensor:
    """[B, N] bool, true for ceil(share * n) of a volume's n valid slices.

    At least one and at most n - 1, so none where there is only one.
    """
    drawn = torch.rand(valid.shape, generator=generator, device=valid.device)
    rank = drawn.masked_fill(~valid, 2).argsort(1).argsort(1)
    length = valid.sum(1)
    wanted = (share * length).ceil().clamp_min(1).minimum(length - 1)
    return rank < wanted.unsqueeze(1)


def hide(embedded: Tensor, mask: Tensor, token: Tensor) -> Tensor:
    """Embeddings [B, N, E] with the token [E] where the mask [B, N] is true."""
    return torch.where(mask.unsqueeze(2), token.to(embedded.dtype), embedded)


def mask_loss(
    predicted: Sequence[Tensor],
    embedded: Sequence[Tensor],
    masks: Sequence[Tensor],
    valid: Tensor,
    settings: Masking,
) -> Tensor:
    """How far the predictions [B, N, E] of each view lie from its own embeddings.

    Over masked slices: mean squared distance between vectors, over the slices of all views. Over
    all, as released: mean over slices and features, summed over views, over int(share * N).
    """
    with torch.autocast(valid.device.type, enabled=False):
        targets = [view.detach().float() for view in embedded]
        if settings.target == "unit":
            targets = [normalize(target, dim=2) for target in targets]
        pairs = zip(predicted, targets, strict=True)
        squared = [(guess.float() - target).square() for guess, target in pairs]
        if settings.loss == "all":
            count = max(1, int(settings.share * valid.shape[1]))
            means = [(part.mean(2) * valid).sum() / valid.sum() for part in squared]
            return torch.stack(means).sum() / count
        mask = torch.stack(list(masks))
        distance = torch.stack(squared).sum(3)
        return (distance * mask).sum() / mask.sum().clamp_min(1)
