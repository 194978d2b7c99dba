"""Soft assignments that use all prototypes alike: the algorithm of Sinkhorn and Knopp.

Source: SwAV (Caron et al., NeurIPS 2020; sheet of joint 2D-3D pre-training, section 5).

Legend: B items, K prototypes, G groups.
"""

import torch
from torch import Tensor


@torch.no_grad()
def sinkhorn(
    scores: Tensor, epsilon: float, iterations: int, groups: Tensor | None = None
) -> Tensor:
    """Assignments [B, K] from scores [B, K]; those of an item sum to 1.

    All prototypes get nearly the same total over all items, more nearly with more iterations. In
    float32, as half precision cannot hold exp(1 / 0.05).

    Args:
        groups: [B, G], 1 at each item's own and 0 elsewhere; prototypes then get the same total
            over the items of every group, each of which is assigned as if it were alone.
    """
    with torch.autocast(scores.device.type, enabled=False):
        logits = scores.float() / epsilon
        assigned = (logits - logits.max()).exp()
        tiny = torch.finfo(assigned.dtype).tiny
        for _ in range(iterations):
            share = assigned.sum(0) if groups is None else groups @ (groups.T @ assigned)
            share = share.clamp_min(tiny)  # of a prototype far from all items
            assigned = assigned / share / scores.shape[1]
            assigned = assigned / assigned.sum(1, keepdim=True)
        return assigned
