"""A decoder with skips that keeps the maps of every level, for losses on its tokens.

Source: sheet of Alice, sections 3, 4 and 9: transposed convolutions halve the channels, and a last
one whose kernel and stride are equal gives voxels. On any encoder it makes a segmentation network
that starts from what Alice has trained, but for that last convolution.

Legend: B items, C channels, K outputs, X Y Z voxels of the image.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, cat, nn

from medssl.networks.channel_groups import Use, only
from medssl.networks.encoder import VolumeEncoder, per_axis
from medssl.networks.norm import group_norm


def _block(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for source in (inputs, outputs):
        conv = nn.Conv3d(source, outputs, 3, padding=1, bias=False)
        layers += [conv, group_norm(outputs), nn.GELU()]
    return nn.Sequential(*layers)


def _step(fine: int | tuple[int, ...], coarse: int | tuple[int, ...]) -> tuple[int, int, int]:
    """From a level's stride to the next one's, along each axis."""
    x, y, z = (b // a for a, b in zip(per_axis(fine), per_axis(coarse), strict=True))
    return x, y, z


class SkipDecoder(nn.Module):
    """From the features of an encoder's levels to K values per voxel.

    Args:
        widths, strides: of the encoder's levels, finest first.
        outputs: K; 1 to fill in a scan.
    """

    HEAD = "voxels"
    """The module that is another one for other outputs."""

    def __init__(
        self, widths: Sequence[int], strides: Sequence[int | tuple[int, ...]], outputs: int = 1
    ) -> None:
        super().__init__()
        steps = [_step(*pair) for pair in pairwise((1, *strides))]
        self.ups = nn.ModuleList(
            nn.ConvTranspose3d(deep, size, step, step)
            for (size, deep), step in zip(pairwise(widths), steps[1:], strict=True)
        )
        self.blocks = nn.ModuleList(_block(2 * size, size) for size in widths[:-1])
        self.voxels = nn.ConvTranspose3d(widths[0], outputs, steps[0], steps[0])

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features [B, widths[l], X / strides[l], ...], finest first, to [B, K, X, Y, Z]."""
        start = self.first(features) if self.ups else features[-1]
        return self.rest(start, features)

    def first(self, features: Sequence[Tensor]) -> Tensor:
        """The map one level above the deepest, [B, widths[-2], X / strides[-2], ...]."""
        return self._up(features[-1], features, len(self.ups) - 1)

    def rest(self, first: Tensor, features: Sequence[Tensor]) -> Tensor:
        """From that map to values [B, K, X, Y, Z]."""
        x = first
        for level in reversed(range(len(self.ups) - 1)):
            x = self._up(x, features, level)
        values: Tensor = self.voxels(x)
        return values

    def _up(self, x: Tensor, features: Sequence[Tensor], level: int) -> Tensor:
        joined: Tensor = self.blocks[level](cat([features[level], self.ups[level](x)], dim=1))
        return joined


class SkipNetwork(nn.Module):
    """An encoder and this decoder, which sees the channels that are to be used."""

    def __init__(self, encoder: VolumeEncoder, classes: int, use: Use = "both") -> None:
        super().__init__()
        self.encoder, self.use = encoder, use
        self.decoder = SkipDecoder(encoder.widths, encoder.strides, classes)

    def forward(self, image: Tensor) -> Tensor:
        """Image [B, C, X, Y, Z] to logits [B, K, X, Y, Z]."""
        logits: Tensor = self.decoder(only(self.encoder(image), self.use))
        return logits
