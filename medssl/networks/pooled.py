"""An encoder whose coarsest map is averaged over space.

Legend: B items, C channels, E features, X Y Z voxels.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from medssl.networks.encoder import VolumeEncoder


def pool(features: Sequence[Tensor]) -> Tensor:
    """The coarsest map [B, E, x, y, z] of a pyramid, averaged: [B, E], at least float32."""
    coarsest = features[-1]
    return (coarsest.float() if coarsest.element_size() < 4 else coarsest).mean((2, 3, 4))


class Pooled(nn.Module):
    """Scans [B, C, X, Y, Z] to features [B, E]."""

    def __init__(self, encoder: VolumeEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> Tensor:
        """Features [B, E]."""
        return pool(self.encoder(image))
