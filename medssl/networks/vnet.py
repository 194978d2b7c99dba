"""The V-Net of UA-MT and TraCoCo, in 3-D or 2-D: plain convolution blocks, added skips.

Source: released code of Liu et al., TraCoCo (IEEE TMI 2024), sheet section 8. It differs from
`monai.networks.nets.VNet` (5^3 kernels, ELU, concatenation).

Legend: B items, C channels, X Y Z voxels (2-D: without Z), K classes.
"""

from itertools import pairwise

from torch import Tensor, nn

from medssl.networks.encoder import DoublingEncoder
from medssl.networks.flat import (
    BATCH_NORM,
    CHANNEL_DROPOUT,
    CONVOLUTION,
    INSTANCE_NORM,
    TRANSPOSED,
)
from medssl.networks.norm import group_norm

CONVOLUTIONS = (1, 2, 3, 3, 3, 3)  # per level, top to bottom; the decoder mirrors it


def _norm(kind: str, channels: int, dims: int) -> nn.Module:
    if kind == "batch":
        return BATCH_NORM[dims](channels)
    if kind == "group":
        return group_norm(channels)
    return INSTANCE_NORM[dims](channels, affine=True)


def _activated(conv: nn.Module, norm: str, channels: int, dims: int) -> list[nn.Module]:
    return [conv, _norm(norm, channels, dims), nn.ReLU(inplace=True)]


def _block(count: int, inputs: int, outputs: int, norm: str, dims: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for index in range(count):
        source = inputs if index == 0 else outputs
        conv = CONVOLUTION[dims](source, outputs, 3, padding=1)
        layers += _activated(conv, norm, outputs, dims)
    return nn.Sequential(*layers)


class VNetEncoder(DoublingEncoder):
    """Image [B, C, X, Y, Z] to the features of every level, finest first.

    Sides must be divisible by 2^(levels - 1).
    """

    def __init__(
        self, channels: int, width: int, levels: int, norm: str, dropout: float, dims: int = 3
    ) -> None:
        super().__init__(channels, width, levels)
        widths = self.widths
        self.blocks = nn.ModuleList(
            _block(CONVOLUTIONS[level], channels if level == 0 else size, size, norm, dims)
            for level, size in enumerate(widths)
        )
        self.downs = nn.ModuleList(
            nn.Sequential(
                *_activated(CONVOLUTION[dims](fine, coarse, 2, stride=2), norm, coarse, dims)
            )
            for fine, coarse in pairwise(widths)
        )
        self.dropout = CHANNEL_DROPOUT[dims](dropout)

    def stages(self, embedded: Tensor) -> list[Tensor]:
        """Features [B, width * 2^l, X / 2^l, Y / 2^l, Z / 2^l] for each level l."""
        features = [self.blocks[0](embedded)]
        for down, block in zip(self.downs, self.blocks[1:], strict=True):
            features.append(block(down(features[-1])))
        features[-1] = self.dropout(features[-1])
        return features

    def layers(self) -> list[nn.ModuleList]:
        """A block a level; below the finest with the convolution that leads to it."""
        pairs = zip(self.downs, self.blocks[1:], strict=True)
        return [nn.ModuleList([self.blocks[0]]), *(nn.ModuleList(pair) for pair in pairs)]


class VNet(nn.Module):
    """Encoder, mirrored decoder with added skips, 1x1x1 head."""

    def __init__(
        self,
        channels: int,
        classes: int,
        width: int = 16,
        levels: int = 5,
        norm: str = "batch",
        dropout: float = 0.5,
        dims: int = 3,
    ) -> None:
        super().__init__()
        self.encoder = VNetEncoder(channels, width, levels, norm, dropout, dims)
        widths = [width * 2**level for level in range(levels)]
        self.ups = nn.ModuleList(
            nn.Sequential(
                *_activated(TRANSPOSED[dims](coarse, fine, 2, stride=2), norm, fine, dims)
            )
            for fine, coarse in pairwise(widths)
        )
        self.blocks = nn.ModuleList(
            _block(CONVOLUTIONS[level], size, size, norm, dims)
            for level, size in enumerate(widths[:-1])
        )
        self.dropout = CHANNEL_DROPOUT[dims](dropout)
        self.head = CONVOLUTION[dims](width, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Image [B, C, X, Y, Z] to logits [B, K, X, Y, Z]."""
        *skips, x = self.encoder(image)
        for level in reversed(range(len(skips))):
            x = self.blocks[level](self.ups[level](x) + skips[level])
        logits: Tensor = self.head(self.dropout(x))
        return logits
