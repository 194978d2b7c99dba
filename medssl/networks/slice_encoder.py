"""One network for images and for slices of volumes.

Source: joint 2D-3D pre-training, AAAI 2023 (sheet, section 2): ResNet-50, global average of every
stage, each of length 1, one after the other. The release appends the last stage twice. Grey images
have one channel here; released weights with three equal ones are summed.

Legend: B images, C channels, H W pixels, E features of the vector.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from medssl.networks.monai_slice_settings import AnySliceEncoder, MonaiSliceSettings
from medssl.networks.monai_slices import MonaiSlices
from medssl.networks.norm import group_norm
from medssl.networks.resnet50 import Norm, ResNet50
from medssl.networks.slice_settings import Pooled


class ConvSlices(nn.Module):
    """A 3 x 3 convolution with stride 2, a norm and ReLU per level (sheet, section 12)."""

    def __init__(self, channels: int, width: int, levels: int, norm: Norm) -> None:
        super().__init__()
        self.widths = tuple(width * 2**level for level in range(levels))
        self.strides = tuple(2 ** (level + 1) for level in range(levels))
        self.blocks = nn.ModuleList()
        for inputs, outputs in zip((channels, *self.widths), self.widths, strict=False):
            conv = nn.Conv2d(inputs, outputs, 3, 2, padding=1, bias=False)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            self.blocks.append(nn.Sequential(conv, norm(outputs), nn.ReLU(inplace=True)))

    def maps(self, image: Tensor) -> list[Tensor]:
        """[B, widths[l], H / strides[l], W / strides[l]] for each level l, rounded up."""
        found: list[Tensor] = []
        for block in self.blocks:
            found.append(block(found[-1] if found else image))
        return found

    def layers(self) -> list[list[nn.Module]]:
        """One block a level."""
        return [[block] for block in self.blocks]


class SliceEncoder(nn.Module):
    """Images [B, C, H, W] to vectors [B, E].

    Attributes:
        widths, strides: channels of the map of each level, and pixels per pixel of it.
        width: E.
        stem: name of the weight that reads the image; its second axis is the image's channels.
    """

    def __init__(self, settings: AnySliceEncoder, channels: int = 1) -> None:
        super().__init__()
        self.pooled: Pooled = settings.pooled
        self.backbone: ResNet50 | ConvSlices | MonaiSlices
        first = 0
        if isinstance(settings, MonaiSliceSettings):
            self.backbone = MonaiSlices(settings, channels)
            self.stem = f"backbone.{self.backbone.stem}"
        else:
            norm: Norm = nn.BatchNorm2d if settings.norm == "batch" else group_norm
            if settings.name == "resnet50":
                self.backbone, first = ResNet50(channels, norm), 1  # the stem's map is not pooled
                self.stem = "backbone.conv1.weight"
            else:
                self.backbone = ConvSlices(channels, settings.width, settings.levels, norm)
                self.stem = "backbone.blocks.0.0.weight"
        self.widths, self.strides = self.backbone.widths, self.backbone.strides
        self._levels = list(range(first, len(self.widths)))
        if settings.pooled == "last":
            self._levels = self._levels[-1:]
        elif settings.pooled == "released":
            self._levels += self._levels[-1:]
        self.width = sum(self.widths[level] for level in self._levels)

    def maps(self, image: Tensor) -> list[Tensor]:
        """Features [B, widths[l], H / strides[l], W / strides[l]] of every level, finest first."""
        return self.backbone.maps(image)

    def pool(self, maps: list[Tensor]) -> Tensor:
        """The maps of all levels to the vector [B, E]."""
        means = [maps[level].mean((2, 3)) for level in self._levels]
        if self.pooled == "last":
            return means[0]
        return torch.cat([normalize(mean, dim=1) for mean in means], dim=1)

    def forward(self, image: Tensor) -> Tensor:
        """Images [B, C, H, W] to vectors [B, E]."""
        return self.pool(self.maps(image))
