"""The light feature-pyramid decoder, so small that the encoder must do the work, and a linear one.

Source: sheet of modality-invariant learning, section 4, and its released code.

Legend: B items, C channels, K outputs, W width, s finest stride, X Y Z voxels of the image.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from medssl.networks.channel_groups import Use, only
from medssl.networks.encoder import VolumeEncoder, per_axis
from medssl.networks.flat import BATCH_NORM, CONVOLUTION, LINEAR
from medssl.networks.norm import group_norm


def voxel_shuffle(features: Tensor, sides: Sequence[int]) -> Tensor:
    """[B, K * a * b * c, x, y, z] to [B, K, x * a, y * b, z * c], a b c the `sides`."""
    if prod(sides) == 1:
        return features
    items, channels, *shape = features.shape
    outputs = channels // prod(sides)
    cells = features.reshape(items, outputs, *sides, *shape)
    mixed = cells.permute(0, 1, 5, 2, 6, 3, 7, 4)
    grown = (side * cell for side, cell in zip(sides, shape, strict=True))
    return mixed.reshape(items, outputs, *grown)


class FpnDecoder(nn.Module):
    """Features of every level to K values per voxel of the image.

    Each level is mapped to `width` channels; from coarse to fine, the sum so far is enlarged,
    added to the next level's map and smoothed. A 1x1x1 convolution then gives each cell of the
    finest level the values of its voxels, s^3 of them or s^2 in 2-D, so no detail is lost to
    interpolation.

    Args:
        widths, strides: of the encoder's levels, finest first.
        outputs: K; 1 to reconstruct a scan, the classes to segment.
        dropout: of whole channels before the head.
    """

    def __init__(
        self,
        widths: Sequence[int],
        strides: Sequence[int | tuple[int, ...]],
        outputs: int,
        width: int = 32,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.finest = per_axis(strides[0])
        self.laterals = nn.ModuleList(nn.Conv3d(size, width, 1, bias=False) for size in widths)
        self.smooths = nn.ModuleList(
            nn.Sequential(
                nn.Conv3d(width, width, 3, padding=1, bias=False), group_norm(width), nn.GELU()
            )
            for _ in widths[1:]
        )
        self.dropout = nn.Dropout3d(dropout)
        self.head = nn.Conv3d(width, outputs * prod(self.finest), 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features [B, widths[l], X / strides[l], ...], finest first, to [B, K, X, Y, Z]."""
        *finer, coarsest = (
            lateral(one) for lateral, one in zip(self.laterals, features, strict=True)
        )
        x = coarsest
        for level in reversed(range(len(finer))):
            size = finer[level].shape[2:]
            x = interpolate(x, size=size, mode="trilinear", align_corners=False)
            x = self.smooths[level](finer[level] + x)
        return voxel_shuffle(self.head(self.dropout(x)), self.finest)


class LinearDecoder(nn.Module):
    """Features of every level to K values per voxel, linearly: the probe of a frozen encoder.

    As one linear map of all levels' features, enlarged to the image and side by side; what is
    enlarged is each level's own share of the values, which is the same and takes less memory.
    Features have unit variance first, so that none is too faint to be learnt from.

    Args:
        widths: of the encoder's levels, finest first.
        outputs: K.
        axes: of the image.
    """

    def __init__(self, widths: Sequence[int], outputs: int, axes: int = 3) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(
                BATCH_NORM[axes](size, affine=False),
                CONVOLUTION[axes](size, outputs, 1, bias=level == 0),
            )
            for level, size in enumerate(widths)
        )

    def forward(self, features: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
        """Features [B, widths[l], ...] to [B, K, X, Y, Z] of the given shape."""
        mode = LINEAR[len(shape)]
        shares = [
            interpolate(level(one), size=list(shape), mode=mode, align_corners=False)
            for level, one in zip(self.levels, features, strict=True)
        ]
        return torch.stack(shares).sum(0)


class FpnNetwork(nn.Module):
    """An encoder and the light decoder, which sees the channels that are to be used."""

    def __init__(
        self, encoder: VolumeEncoder, classes: int, width: int, dropout: float, use: Use = "both"
    ) -> None:
        super().__init__()
        self.encoder, self.use = encoder, use
        self.decoder = FpnDecoder(encoder.widths, encoder.strides, classes, width, dropout)

    def forward(self, image: Tensor) -> Tensor:
        """Image [B, C, X, Y, Z] to logits [B, K, X, Y, Z]."""
        logits: Tensor = self.decoder(only(self.encoder(image), self.use))
        return logits


class LinearNetwork(nn.Module):
    """An encoder and the linear decoder, which sees the channels that are to be used."""

    def __init__(
        self, encoder: VolumeEncoder, classes: int, use: Use = "both", axes: int = 3
    ) -> None:
        super().__init__()
        self.encoder, self.use = encoder, use
        self.decoder = LinearDecoder(encoder.widths, classes, axes)

    def forward(self, image: Tensor) -> Tensor:
        """Image [B, C, X, Y, Z] to logits [B, K, X, Y, Z]."""
        logits: Tensor = self.decoder(only(self.encoder(image), self.use), image.shape[2:])
        return logits
