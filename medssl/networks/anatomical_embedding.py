"""A vector for every place of a volume: a fine map and a coarse one, both of unit length.

Source: SAM, self-supervised anatomical embedding (Yan et al., IEEE TMI 2022) and its released
code, as the sheet of Alice reads them (sections 8.1 and 8.2).

Legend: B volumes, C channels, d features of a vector, X Y Z voxels, x y z fine cells, u v w coarse
cells.
"""

from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool3d, normalize

from medssl.networks.embedder_settings import EmbedderSettings

Triple = tuple[int, int, int]


class Embedding(NamedTuple):
    """Vectors of unit length.

    Attributes:
        fine: [B, d, x, y, z], a cell for every `fine_stride` voxels.
        coarse: [B, d, u, v, w], a cell for every `coarse_stride` voxels.
    """

    fine: Tensor
    coarse: Tensor


class _Block(nn.Module):
    """Two 3x3x3 convolutions about a shortcut (ResNet's basic block)."""

    def __init__(self, inputs: int, outputs: int, stride: Triple) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm3d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv3d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm3d(outputs),
        )
        self.shortcut = nn.Sequential()
        if inputs != outputs or prod(stride) > 1:
            self.shortcut.append(nn.Conv3d(inputs, outputs, 1, stride, bias=False))
            self.shortcut.append(nn.BatchNorm3d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def _plain(inputs: int, outputs: int, stride: Triple) -> nn.Sequential:
    """Two convolutions with instance norm, which copes with bodies of other intensities."""
    layers: list[nn.Module] = []
    for source, step in ((inputs, stride), (outputs, (1, 1, 1))):
        layers += [
            nn.Conv3d(source, outputs, 3, step, padding=1),
            nn.InstanceNorm3d(outputs, affine=True),
            nn.LeakyReLU(0.01, inplace=True),
        ]
    return nn.Sequential(*layers)


class AnatomicalEmbedder(nn.Module):
    """Four stages; a feature pyramid over the first three is fine, a head on the fourth coarse.

    Cell i of the fine map covers the voxels 2i and 2i + 1 of each axis. Sides must be multiples of
    `coarse_stride`.
    """

    fine_stride: Triple = (2, 2, 2)

    def __init__(self, settings: EmbedderSettings) -> None:
        super().__init__()
        self.settings = settings
        width, features = settings.width, settings.features
        self.coarse_stride: Triple = settings.coarse_stride
        self.stem: nn.Module
        if settings.name == "lite":
            widths = (width, 2 * width, 4 * width, 4 * width)
            self.stem = nn.Identity()
            sources = (1, *widths)
            strides: list[Triple] = [(2, 2, 2), (2, 2, 2), (2, 2, 2), (1, 1, 1)]
            stages = [_plain(sources[n], size, strides[n]) for n, size in enumerate(widths)]
        else:
            widths = (width, 2 * width, 4 * width, 8 * width)
            self.stem = nn.Sequential(
                nn.Conv3d(1, width, (7, 7, 3), padding=(3, 3, 1), bias=False),
                nn.BatchNorm3d(width),
                nn.ReLU(inplace=True),
            )
            sources = (width, *widths)
            strides = [(2, 2, 1), (2, 2, 1), (2, 2, 1), (2, 2, 2)]
            stages = [
                nn.Sequential(_Block(sources[n], size, strides[n]), _Block(size, size, (1, 1, 1)))
                for n, size in enumerate(widths)
            ]
        self.stages = nn.ModuleList(stages)
        self.laterals = nn.ModuleList(nn.Conv3d(size, features, 1) for size in widths[:3])
        self.smooths = nn.ModuleList(nn.Conv3d(features, features, 3, padding=1) for _ in range(2))
        self.coarse_head = nn.Conv3d(widths[3], features, 3, padding=1)

    def forward(self, image: Tensor) -> Embedding:
        """Volumes [B, 1, X, Y, Z] to their vectors."""
        x = self.stem(image)
        maps = []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number == 0 and self.settings.name == "resnet18":
                x = max_pool3d(x, (1, 1, 2))  # the only halving across slices before stage 4
            maps.append(x)
        fine = self.laterals[2](maps[2])
        for level in (1, 0):
            lateral = self.laterals[level](maps[level])
            fine = lateral + interpolate(
                fine, size=lateral.shape[2:], mode="trilinear", align_corners=False
            )
            fine = self.smooths[level](fine)
        return Embedding(normalize(fine, dim=1), normalize(self.coarse_head(maps[3]), dim=1))


def build_embedder(settings: EmbedderSettings, seed: int) -> AnatomicalEmbedder:
    """The network of `settings`; equal seeds give equal weights, the global generator stays."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AnatomicalEmbedder(settings)


def on_fine_grid(coarse: Tensor, shape: Triple | torch.Size, ratio: Triple) -> Tensor:
    """Coarse vectors [B, d, u, v, w] for each cell of a fine grid, again of unit length.

    Args:
        shape: x, y, z of the fine grid; at most `ratio` times the coarse one.
        ratio: fine cells to a coarse one, along each axis.
    """
    factor = tuple(float(step) for step in ratio)
    large = interpolate(coarse, scale_factor=factor, mode="trilinear", align_corners=False)
    x, y, z = shape
    return normalize(large[:, :, :x, :y, :z], dim=1)
