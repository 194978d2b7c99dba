"""Channels that mean anatomy and channels that keep the contrast, in every level but the coarsest.

Source: sheet of modality-invariant learning, section 12 (two to one). The coarsest level is not
divided: what is pooled from it has a head for each part.
"""

from torch import Tensor


def invariant_channels(width: int) -> int:
    """The first so many of a level's channels are the invariant group; at least one is not."""
    return min(width - 1, max(1, round(width * 2 / 3)))


def invariant_group(features: Tensor) -> Tensor:
    """The invariant channels of a level's features [B, C, ...]."""
    return features[:, : invariant_channels(features.shape[1])]


def specific_group(features: Tensor) -> Tensor:
    """The other channels of a level's features [B, C, ...]."""
    return features[:, invariant_channels(features.shape[1]) :]
