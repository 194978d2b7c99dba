"""Tile encoders: a tile of a slide to a feature vector.

Legend: B tiles, S pixels of a tile's side, E features.
"""

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from medssl.networks.image_encoders import DenseNet, PooledResNet50, TimmEncoder, convolutions
from medssl.networks.load_report import LoadReport
from medssl.networks.monai_features import MonaiFeatures
from medssl.networks.monai_tile_settings import AnyTileEncoder, MonaiTileSettings
from medssl.networks.pretrained import load_pretrained
from medssl.networks.resnet import ResNet18
from medssl.networks.tile_settings import TRANSFORMERS
from medssl.networks.vision_transformer import VisionTransformer, add_adapters

Backbone = VisionTransformer | ResNet18 | PooledResNet50 | DenseNet | TimmEncoder | MonaiFeatures


class TileEncoder(nn.Module):
    """Resizes, normalises and encodes tiles.

    Attributes:
        width: features of a tile, E.
        report: what was loaded from the weights file; None without one.
    """

    by_rows: ClassVar = ("embed",)
    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Backbone, settings: AnyTileEncoder) -> None:
        super().__init__()
        self.backbone = backbone
        self.side, self.width = settings.side, backbone.width
        self.resize = settings.resize
        self.report: LoadReport | None = None
        mean, std = (torch.tensor(one).view(-1, 1, 1) for one in settings.values)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    @property
    def loaded(self) -> nn.Module:
        """The part that weights files hold."""
        one = self.backbone
        return one.network if isinstance(one, MonaiFeatures) else one

    def forward(self, image: Tensor) -> Tensor:
        """RGB tiles [B, 3, S, S], float in [0, 1], to features [B, E]."""
        return self.embed(self.sized(image))

    def sized(self, image: Tensor) -> Tensor:
        """Images [B, C, H, W] with the sides that the network is for."""
        if image.shape[-2:] == (self.side, self.side):
            return image
        return interpolate(
            image,
            size=(self.side, self.side),
            mode=self.resize,
            align_corners=False,
            antialias=True,
        )

    def embed(self, image: Tensor) -> Tensor:
        """Like `forward`, but without resizing, as pre-training encodes crops of several sizes."""
        found: Tensor = self.backbone(self.scaled(image))
        return found

    def scaled(self, image: Tensor) -> Tensor:
        """Images in [0, 1], of the channels that the network reads, as its weights were trained.

        Grey images are shown to a network of colours as three equal channels; colours to one of
        grey images as their mean.
        """
        wanted = len(self.mean)
        if image.shape[1] != wanted:
            image = image.expand(-1, 3, -1, -1) if wanted == 3 else image.mean(1, keepdim=True)
        return (image - self.mean) / self.std

    def set_drop_path(self, rate: float) -> None:
        """Set the rate of stochastic depth in training; a ResNet has none and ignores it."""
        if isinstance(self.backbone, VisionTransformer | TimmEncoder):
            self.backbone.set_drop_path(rate)


def build_tile_encoder(settings: AnyTileEncoder, seed: int) -> TileEncoder:
    """The encoder of `settings`, with the weights of its file, if one is named.

    What the file does not hold comes from `seed`: equal seeds give equal weights; torch's global
    generator is left as it was. With adapters, nothing but them needs a gradient.

    Raises:
        UsageError, DataError: as `load_pretrained`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = _build(settings)
    encoder = TileEncoder(backbone, settings)
    if settings.weights is not None:
        encoder.report = load_pretrained(encoder.loaded, Path(settings.weights), settings.matched)
    return encoder


def _build(settings: AnyTileEncoder) -> Backbone:
    if isinstance(settings, MonaiTileSettings):
        return MonaiFeatures(settings, settings.channels, settings.side)
    if settings.model is not None:
        given = settings.model, settings.arguments, settings.channels
        return TimmEncoder(*given, settings.pooling)
    if settings.name not in TRANSFORMERS:
        return convolutions(settings.name, settings.channels)
    size = TRANSFORMERS[settings.name]
    backbone = VisionTransformer(
        settings.side,
        *size,
        settings.pooling,
        settings.epsilon,
    )
    if settings.adapters is not None:
        add_adapters(backbone, settings.adapters.bottleneck, settings.adapters.scale)
    return backbone
