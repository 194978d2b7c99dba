"""Channels that mean anatomy and channels that keep the contrast, in every level but the coarsest.

Source: sheet of modality-invariant learning, section 12 (two to one). The coarsest level is not
divided: what is pooled from it has a head for each part.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Use = Literal["both", "invariant", "specific"]


def invariant_channels(width: int) -> int:
    """How many of a level's first channels are the invariant group; at least one is left over."""
    return min(width - 1, max(1, round(width * 2 / 3)))


def invariant_group(features: Tensor) -> Tensor:
    """The invariant channels of a level's features [B, C, ...]."""
    return features[:, : invariant_channels(features.shape[1])]


def specific_group(features: Tensor) -> Tensor:
    """The other channels of a level's features [B, C, ...]."""
    return features[:, invariant_channels(features.shape[1]) :]


def only(features: Sequence[Tensor], use: Use) -> list[Tensor]:
    """Features in which the other group is 0, in every level but the coarsest."""
    if use == "both":
        return list(features)
    kept = []
    for level in features[:-1]:
        invariant, specific = invariant_group(level), specific_group(level)
        if use == "invariant":
            kept.append(torch.cat([invariant, torch.zeros_like(specific)], dim=1))
        else:
            kept.append(torch.cat([torch.zeros_like(invariant), specific], dim=1))
    return [*kept, features[-1]]
