"""A U-Net for volumes, slice by slice, in which a transformer joins the slices.

Source: joint 2D-3D pre-training (sheet, sections 7 and 10). The release segments slice by slice
without the transformer; here its token of a slice scales and shifts the slice's deepest features
(FiLM, Perez et al. 2018), which is no change at first. The image itself is the finest skip.

Legend: B items, C channels, K classes, X Y Z voxels, S = B * Z slices, E features of a token.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from medssl.networks.mixed_encoder import MixedEncoder, slices_of, volumes_of
from medssl.networks.norm import group_norm


def _norm(kind: str, channels: int) -> nn.Module:
    if kind == "group":
        return group_norm(channels)
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.InstanceNorm2d(channels, affine=True)


def _block(inputs: int, outputs: int, norm: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for source in (inputs, outputs):
        conv = nn.Conv2d(source, outputs, 3, padding=1, bias=False)
        layers += [conv, _norm(norm, outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class SliceDecoder(nn.Module):
    """Maps of every level and the image to features of each pixel, coarse to fine."""

    def __init__(self, widths: Sequence[int], channels: int, width: int, norm: str) -> None:
        super().__init__()
        skips = [channels, *widths[:-1]]
        below = widths[-1]
        blocks: list[nn.Module] = []
        for level in reversed(range(len(skips))):
            blocks.append(_block(below + skips[level], width * 2**level, norm))
            below = width * 2**level
        self.blocks = nn.ModuleList(blocks)

    def forward(self, maps: list[Tensor], image: Tensor) -> Tensor:
        """Maps [S, widths[l], ...] of an image [S, C, Y, X] to [S, width, Y, X]."""
        *skips, found = [image, *maps]
        for block, skip in zip(self.blocks, reversed(skips), strict=True):
            enlarged = interpolate(found, skip.shape[2:], mode="bilinear", align_corners=False)
            found = block(torch.cat([skip, enlarged], dim=1))
        return found


class SliceUNet(nn.Module):
    """Images [B, C, X, Y, Z] to logits [B, K, X, Y, Z]; sides of any length.

    Args:
        spacing: mm between slices.
    """

    def __init__(
        self,
        encoder: MixedEncoder,
        classes: int,
        width: int,
        norm: str,
        dropout: float,
        spacing: float,
    ) -> None:
        super().__init__()
        self.encoder, self.spacing = encoder, spacing
        channels = encoder.embed_width * (2 * encoder.neighbours + 1)
        self.decoder = SliceDecoder(encoder.widths, channels, width, norm)
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(width, classes, 1)
        if encoder.width:
            self.film = nn.Linear(encoder.width, 2 * encoder.widths[-1])
            nn.init.zeros_(self.film.weight)
            nn.init.zeros_(self.film.bias)

    def forward(self, image: Tensor) -> Tensor:
        """Image [B, C, X, Y, Z] to logits [B, K, X, Y, Z]."""
        slices = slices_of(image, self.encoder.neighbours)
        maps = self.encoder.slices.maps(slices)
        if self.encoder.width:
            maps = [*maps[:-1], self._modulated(maps, len(image))]
        logits = self.head(self.dropout(self.decoder(maps, slices)))
        found: Tensor = volumes_of(logits, len(image)).contiguous()
        return found

    def _modulated(self, maps: list[Tensor], items: int) -> Tensor:
        """The deepest map, scaled and shifted as its slice's token says."""
        embedded = self.encoder.project(self.encoder.slices.pool(maps)).view(
            items, -1, self.encoder.width
        )
        valid = torch.ones(embedded.shape[:2], dtype=torch.bool, device=embedded.device)
        spacing = torch.full((items,), self.spacing, device=embedded.device)
        tokens = self.encoder.tokens(embedded, valid, spacing).flatten(0, 1)
        scale, shift = self.film(tokens)[..., None, None].chunk(2, dim=1)
        modulated: Tensor = maps[-1] * (1 + scale) + shift
        return modulated
