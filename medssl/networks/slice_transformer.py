"""From a volume's slice vectors to tokens that are informed by each other, and to one vector.

Source: joint 2D-3D pre-training, AAAI 2023 (sheet, sections 2, 4 and 6). The position code is not
the paper's, which has none; without it, or with the release's attention, the order of slices is
hardly told.

Legend: B volumes, N slices, E features of a token.
"""

from math import log

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from medssl.networks.deformable_attention import DeformableAttention
from medssl.networks.slice_settings import SliceTransformerSettings

LONGEST = 10000.0


def position_code(place: Tensor, width: int) -> Tensor:
    """Sines and cosines of places [...], at frequencies from 1 down to 1 / 10000: [..., width]."""
    steps = torch.arange(0, width, 2, device=place.device, dtype=torch.float32)
    angle = place.float().unsqueeze(-1) * torch.exp(steps * (-log(LONGEST) / width))
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)


class SliceLayer(nn.Module):
    """Deformable attention, then a network of each token, each with a residual and a norm."""

    def __init__(self, settings: SliceTransformerSettings) -> None:
        super().__init__()
        width = settings.width
        self.first = settings.norm == "pre"
        self.attention = DeformableAttention(width, settings.heads, settings.points)
        self.inner = nn.Sequential(
            nn.Linear(width, settings.hidden), nn.GELU(), nn.Linear(settings.hidden, width)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, tokens: Tensor, valid: Tensor) -> Tensor:
        """[B, N, E] to [B, N, E]; `valid` [B, N]."""
        attention_norm, inner_norm = self.norms
        if self.first:
            tokens = tokens + self.dropout(self.attention(attention_norm(tokens), valid))
            return tokens + self.dropout(self.inner(inner_norm(tokens)))  # type: ignore[no-any-return]
        tokens = attention_norm(tokens + self.dropout(self.attention(tokens, valid)))
        return inner_norm(tokens + self.dropout(self.inner(tokens)))  # type: ignore[no-any-return]


class SliceTransformer(nn.Module):
    """Slice embeddings [B, N, E] to tokens [B, N, E], each informed by the other slices."""

    def __init__(self, settings: SliceTransformerSettings) -> None:
        super().__init__()
        self.settings = settings
        self.layers = nn.ModuleList(SliceLayer(settings) for _ in range(settings.layers))

    def forward(self, embedded: Tensor, valid: Tensor, spacing: Tensor) -> Tensor:
        """Tokens of embeddings [B, N, E].

        Args:
            valid: [B, N] bool, false for slices that only pad a shorter volume.
            spacing: [B], mm between slices.
        """
        tokens = embedded
        chosen = self.settings
        if chosen.position != "none":
            place = torch.arange(embedded.shape[1], device=embedded.device).expand(valid.shape)
            if chosen.position == "mm":
                place = place * spacing.unsqueeze(1)
            code = position_code(place, chosen.width)
            tokens = tokens + chosen.position_gain * code.to(tokens.dtype)
        for layer in self.layers:
            tokens = layer(tokens, valid)
        return tokens


def holistic(tokens: Tensor, valid: Tensor) -> Tensor:
    """The mean of a volume's valid tokens, of length 1: [B, N, E] to [B, E]."""
    share = valid.to(tokens.dtype).unsqueeze(2)
    mean = (tokens * share).sum(1) / share.sum(1).clamp_min(1)
    return normalize(mean.float(), dim=1)
