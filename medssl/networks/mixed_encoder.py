"""What joint 2D-3D pre-training hands on: the encoder of slices and the transformer of volumes.

Slices lie along the last axis of a volume; a slice is seen with its rows along Y and its columns
along X, so that left and right are left and right in images too.

Legend: B volumes, N = Z slices, C channels, X Y Z voxels, H W pixels, E features of a token.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from medssl.networks.encoder import VolumeEncoder
from medssl.networks.monai_slice_settings import AnySliceEncoder
from medssl.networks.slice_encoder import SliceEncoder
from medssl.networks.slice_settings import SliceTransformerSettings
from medssl.networks.slice_transformer import SliceTransformer, holistic


def slices_of(volume: Tensor, neighbours: int = 0) -> Tensor:
    """Volumes [B, C, X, Y, Z] as slices [B * Z, C * (2 n + 1), Y, X], each with n to each side.

    Beyond the ends the outermost slice is repeated.
    """
    slices = volume.permute(0, 4, 1, 3, 2)
    if neighbours:
        place = torch.arange(slices.shape[1], device=volume.device)
        reach = torch.arange(-neighbours, neighbours + 1, device=volume.device)
        index = (place[:, None] + reach).clamp(0, slices.shape[1] - 1)
        slices = slices[:, index].flatten(2, 3)
    return slices.flatten(0, 1)


def volumes_of(slices: Tensor, items: int) -> Tensor:
    """Slices [B * Z, C, Y, X] as volumes [B, C, X, Y, Z]."""
    return slices.view(items, -1, *slices.shape[1:]).permute(0, 2, 4, 3, 1)


class MixedEncoder(VolumeEncoder):
    """Slices to embeddings by one network, embeddings of a volume to tokens by another.

    As a `VolumeEncoder` its levels are the maps of slices: `strides` hold within them, and sides
    that are no multiple are rounded up; through them nothing is made smaller.

    Args:
        transformer: settings, or None: slices are then encoded independently of each other.
        neighbours: slices to each side that come with each as further channels.

    Attributes:
        slices: the network of single slices, which also serves images.
        width: E.
    """

    by_rows: ClassVar = ("embed_slices",)

    def __init__(
        self,
        channels: int,
        encoder: AnySliceEncoder,
        transformer: SliceTransformerSettings | None,
        neighbours: int = 0,
    ) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.slices = SliceEncoder(encoder, channels * (2 * neighbours + 1))
        self.stem = f"slices.{self.slices.stem}"
        self.widths, self.strides = self.slices.widths, self.slices.strides
        self.embed_width, self.embed_stride = channels, 1
        self.width = 0
        if transformer is not None:
            self.width = transformer.width
            self.project = nn.Linear(self.slices.width, self.width)
            self.transformer = SliceTransformer(transformer)

    def stages(self, embedded: Tensor) -> list[Tensor]:
        """Maps [B, widths[l], X / strides[l], Y / strides[l], Z] of every level, finest first."""
        maps = self.slices.maps(slices_of(embedded, self.neighbours))
        return [volumes_of(part, len(embedded)) for part in maps]

    def layers(self) -> list[nn.ModuleList]:
        """A list per level; the transformer that joins slices belongs to the coarsest."""
        found = [nn.ModuleList(part) for part in self.slices.backbone.layers()]
        if self.width:
            found[-1].extend([self.project, self.transformer])
        return found

    def embed_slices(self, slices: Tensor) -> Tensor:
        """Images or slices [B, C, H, W] to embeddings [B, E]."""
        embedded: Tensor = self.project(self.slices(slices))
        return embedded

    def tokens(self, embedded: Tensor, valid: Tensor, spacing: Tensor) -> Tensor:
        """Embeddings [B, N, E] of slices to tokens [B, N, E], each informed by the other slices.

        Args:
            valid: [B, N] bool, false for slices that only pad a shorter volume.
            spacing: [B], mm between slices.
        """
        found: Tensor = self.transformer(embedded, valid, spacing)
        return found

    def represent(self, volume: Tensor, valid: Tensor, spacing: Tensor) -> Tensor:
        """Volumes of slices [B, N, H, W] to vectors [B, E] of length 1; arguments as `tokens`."""
        embedded = self.embed_slices(volume.flatten(0, 1).unsqueeze(1))
        embedded = embedded.view(*volume.shape[:2], self.width)
        return holistic(self.tokens(embedded, valid, spacing), valid)
