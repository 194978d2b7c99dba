"""Tile encoders: a tile of a slide to a feature vector.

Legend: B tiles, S pixels of a tile's side, E features.
"""

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from medssl.networks.load_report import LoadReport
from medssl.networks.pretrained import load_pretrained
from medssl.networks.resnet import ResNet18
from medssl.networks.tile_settings import TRANSFORMERS, TileEncoderSettings
from medssl.networks.vision_transformer import VisionTransformer, add_adapters

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class TileEncoder(nn.Module):
    """Resizes, normalises and encodes tiles.

    Attributes:
        width: features of a tile, E.
        report: what was loaded from the weights file; None without one.
    """

    by_rows: ClassVar = ("embed",)
    mean: Tensor
    std: Tensor

    def __init__(self, backbone: VisionTransformer | ResNet18, side: int, normalise: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.side, self.width = side, backbone.width
        self.report: LoadReport | None = None
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if normalise else ((0.0,) * 3, (1.0,) * 3)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """RGB tiles [B, 3, S, S], float in [0, 1], to features [B, E]."""
        if image.shape[-2:] != (self.side, self.side):
            image = interpolate(
                image,
                size=(self.side, self.side),
                mode="bilinear",
                align_corners=False,
                antialias=True,
            )
        return self.embed(image)

    def embed(self, image: Tensor) -> Tensor:
        """Like `forward`, but without resizing, as pre-training encodes crops of several sizes."""
        found: Tensor = self.backbone((image - self.mean) / self.std)
        return found

    def set_drop_path(self, rate: float) -> None:
        """Set the rate of stochastic depth in training; a ResNet has none and ignores it."""
        if isinstance(self.backbone, VisionTransformer):
            self.backbone.set_drop_path(rate)


def build_tile_encoder(settings: TileEncoderSettings, seed: int) -> TileEncoder:
    """The encoder of `settings`, with the weights of its file, if one is named.

    What the file does not hold comes from `seed`: equal seeds give equal weights; torch's global
    generator is left as it was. With adapters, nothing but them needs a gradient.

    Raises:
        UsageError, DataError: as `load_pretrained`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = _build(settings)
    encoder = TileEncoder(backbone, settings.side, settings.normalise == "imagenet")
    if settings.weights is not None:
        encoder.report = load_pretrained(backbone, Path(settings.weights), settings.matched)
    return encoder


def _build(settings: TileEncoderSettings) -> VisionTransformer | ResNet18:
    if settings.name not in TRANSFORMERS:
        return ResNet18()
    size = TRANSFORMERS[settings.name]
    backbone = VisionTransformer(
        settings.side, size.patch, size.width, size.depth, size.heads, settings.pooling
    )
    if settings.adapters is not None:
        add_adapters(backbone, settings.adapters.bottleneck, settings.adapters.scale)
    return backbone
