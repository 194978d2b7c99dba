"""The V-Net of UA-MT and TraCoCo: plain convolution blocks, added skips.

Source: released code of Liu et al., TraCoCo (IEEE TMI 2024), sheet section 8. It differs from
`monai.networks.nets.VNet` (5^3 kernels, ELU, concatenation).

Legend: B items, C channels, X Y Z voxels, K classes.
"""

from itertools import pairwise

from torch import Tensor, nn

from medssl.networks.encoder import VolumeEncoder
from medssl.networks.norm import group_norm

CONVOLUTIONS = (1, 2, 3, 3, 3, 3)  # per level, top to bottom; the decoder mirrors it


def _norm(kind: str, channels: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm3d(channels)
    if kind == "group":
        return group_norm(channels)
    return nn.InstanceNorm3d(channels, affine=True)


def _activated(conv: nn.Module, norm: str, channels: int) -> list[nn.Module]:
    return [conv, _norm(norm, channels), nn.ReLU(inplace=True)]


def _block(count: int, inputs: int, outputs: int, norm: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for index in range(count):
        source = inputs if index == 0 else outputs
        layers += _activated(nn.Conv3d(source, outputs, 3, padding=1), norm, outputs)
    return nn.Sequential(*layers)


class VNetEncoder(VolumeEncoder):
    """Image [B, C, X, Y, Z] to the features of every level, finest first.

    Sides must be divisible by 2^(levels - 1).
    """

    stem = "blocks.0.0.weight"

    def __init__(self, channels: int, width: int, levels: int, norm: str, dropout: float) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(levels)]
        self.widths, self.strides = tuple(widths), tuple(2**level for level in range(levels))
        self.embed_width, self.embed_stride = channels, 1
        self.blocks = nn.ModuleList(
            _block(CONVOLUTIONS[level], channels if level == 0 else size, size, norm)
            for level, size in enumerate(widths)
        )
        self.downs = nn.ModuleList(
            nn.Sequential(*_activated(nn.Conv3d(fine, coarse, 2, stride=2), norm, coarse))
            for fine, coarse in pairwise(widths)
        )
        self.dropout = nn.Dropout3d(dropout)

    def embed(self, image: Tensor) -> Tensor:
        """The image itself."""
        return image

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
    ) -> None:
        super().__init__()
        self.encoder = VNetEncoder(channels, width, levels, norm, dropout)
        widths = [width * 2**level for level in range(levels)]
        self.ups = nn.ModuleList(
            nn.Sequential(*_activated(nn.ConvTranspose3d(coarse, fine, 2, stride=2), norm, fine))
            for fine, coarse in pairwise(widths)
        )
        self.blocks = nn.ModuleList(
            _block(CONVOLUTIONS[level], size, size, norm) for level, size in enumerate(widths[:-1])
        )
        self.dropout = nn.Dropout3d(dropout)
        self.head = nn.Conv3d(width, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Image [B, C, X, Y, Z] to logits [B, K, X, Y, Z]."""
        *skips, x = self.encoder(image)
        for level in reversed(range(len(skips))):
            x = self.blocks[level](self.ups[level](x) + skips[level])
        logits: Tensor = self.head(self.dropout(x))
        return logits
