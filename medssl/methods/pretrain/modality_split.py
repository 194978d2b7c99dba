"""Two parts of one embedding: what all contrasts of a place share, and what tells them apart.

Beyond the paper. Source: sheet of modality-invariant learning, section 12.

Legend: B scans, E features, K contrasts, C channels, L locations, X Y Z voxels.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn
from torch.autograd import Function
from torch.autograd.function import FunctionCtx
from torch.nn.functional import cross_entropy, normalize

from medssl.methods.pretrain.contrast import contrastive_loss
from medssl.methods.segment.losses import at_least_float32
from medssl.methods.settings.modality_invariant import SplitParts
from medssl.networks.channel_groups import invariant_channels, invariant_group

UNKNOWN = -1


class _Reversed(Function):
    """The identity, whose gradient is turned round."""

    @staticmethod
    def forward(ctx: FunctionCtx, features: Tensor) -> Tensor:
        return features.view_as(features)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        return -gradient


class SplitHeads(nn.Module):
    """Heads of the specific part; they share no layer with the projector of the invariant one."""

    def __init__(self, settings: SplitParts, widths: Sequence[int], contrasts: int) -> None:
        super().__init__()
        self.specific = nn.Linear(widths[-1], settings.specific)
        self.modality = nn.Linear(settings.specific, contrasts)
        groups = [invariant_channels(width) for width in widths[:-1]]
        self.reversal = nn.Linear(sum(groups), contrasts) if settings.reversal else None
        rest = [width - kept for width, kept in zip(widths[:-1], groups, strict=True)]
        self.injections = nn.ModuleList(
            nn.Linear(settings.specific, size) for size in (rest if settings.cross else [])
        )

    def told(self, specific: Tensor, contrast: Tensor) -> Tensor:
        """Cross-entropy of telling the contrasts [B] from z_spec [B, E], unknown ones left out."""
        return _cross_entropy(self.modality(specific), contrast)

    def hidden(self, features: Sequence[Tensor], contrast: Tensor) -> Tensor:
        """Adversarial cross-entropy: contrasts [B] told from the pooled invariant channels.

        Its gradient is reversed on its way to the encoder, which so learns to make it impossible.
        """
        if self.reversal is None:
            return features[0].new_zeros(())
        pooled = [invariant_group(level).mean((2, 3, 4)) for level in features[:-1]]
        turned = _Reversed.apply(torch.cat(pooled, 1))  # type: ignore[no-untyped-call]
        return _cross_entropy(self.reversal(turned), contrast)

    def inject(self, features: Sequence[Tensor], specific: Tensor) -> list[Tensor]:
        """The other scan's features with z_spec [B, E] of this one in place of the specific group.

        The coarsest level is the other scan's.
        """
        mixed = []
        for level, injection in zip(features[:-1], self.injections, strict=True):
            own = injection(specific)[:, :, None, None, None].expand(-1, -1, *level.shape[2:])
            mixed.append(torch.cat([invariant_group(level), own], dim=1))
        return [*mixed, features[-1]]


def covariance_penalty(one: Tensor, other: Tensor) -> Tensor:
    """mean((U^T W / B)^2) of the standardised rows of z_inv and z_spec, [B, E] each."""
    with torch.autocast(one.device.type, enabled=False):
        first, second = (
            (part - part.mean(0)) / part.std(0, correction=0).clamp_min(1e-4)
            for part in (at_least_float32(one), at_least_float32(other))
        )
        return ((first.T @ second / len(one)) ** 2).mean()


def dense_loss(
    query: Sequence[Tensor],
    key: Sequence[Tensor],
    patient: Tensor,
    locations: int,
    temperature: float,
    generator: Generator,
) -> Tensor:
    """The contrastive loss per location, mean over all levels but the coarsest.

    A location of one scan is that of the other; the negatives are all locations of other patients.

    Args:
        query, key: features of every level [B, C, x, y, z] of the two scans of each pair.
        patient: [B].
        locations: drawn in each level, the same of all pairs.
    """
    found = []
    for first, second in zip(query[:-1], key[:-1], strict=True):
        cells = first[0, 0].numel()
        places = torch.randperm(cells, generator=generator, device=first.device)[:locations]
        rows = [
            normalize(at_least_float32(invariant_group(level).flatten(2)[..., places]), dim=1)
            .transpose(1, 2)
            .flatten(0, 1)
            for level in (first, second)
        ]
        owner = patient.repeat_interleave(len(places))
        allowed = owner.unsqueeze(0) != owner.unsqueeze(1)
        found.append(contrastive_loss(rows[0], rows[1], rows[1], allowed, temperature))
    return torch.stack(found).mean()


def _cross_entropy(logits: Tensor, contrast: Tensor) -> Tensor:
    """Mean over the known contrasts; 0 where none is."""
    known = (contrast != UNKNOWN).sum().clamp_min(1)
    return cross_entropy(logits, contrast, ignore_index=UNKNOWN, reduction="sum") / known
