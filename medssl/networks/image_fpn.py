"""A 2-D network on an encoder of images: its maps, and a light pyramid that makes masks of them.

Of a transformer there is one map, of its patches; of a ResNet one a layer; of others the last.

Legend: B images, C channels, E channels of a map, K classes, X Y pixels.
"""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from medssl.errors import UsageError
from medssl.networks.encoder import VolumeEncoder
from medssl.networks.heads import ManyHeads
from medssl.networks.image_encoders import DenseNet, PooledResNet50
from medssl.networks.image_fpn_settings import COARSEST, ImageFpnSettings
from medssl.networks.monai_features import MonaiFeatures
from medssl.networks.monai_tile_settings import AnyTileEncoder
from medssl.networks.norm import group_norm, rest_batch_norms
from medssl.networks.resnet import WIDTHS, ResNet18
from medssl.networks.tile_encoder import build_tile_encoder
from medssl.networks.vision_transformer import VisionTransformer


class ImagePyramid(VolumeEncoder):
    """Images [B, C, X, Y] in 0..1 to the maps of every level, finest first.

    Grey images are shown to an encoder of colours as three equal channels.

    Raises:
        UsageError: the images have other channels than one or three.
    """

    def __init__(self, settings: AnyTileEncoder, channels: int) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise UsageError(
                f"the encoder {settings.name} takes no images of {channels} channels",
                "it was trained on grey images or on colours",
                "use images of one channel or of three",
            )
        self.images = build_tile_encoder(settings.model_copy(update={"weights": None}), seed=0)
        self.embed_width, self.embed_stride = channels, 1
        self.widths, self.strides = self._sizes(settings)
        weights = [name for name, one in self.named_parameters() if one.ndim == 4]
        self.stem = weights[0]

    def _sizes(self, settings: AnyTileEncoder) -> tuple[tuple[int, ...], tuple[int, ...]]:
        backbone = self.images.backbone
        if isinstance(backbone, ResNet18):
            return WIDTHS, (4, 8, 16, 32)
        if isinstance(backbone, PooledResNet50):
            return backbone.widths[1:], backbone.strides[1:]
        if isinstance(backbone, DenseNet):
            return (backbone.width,), (COARSEST,)
        if isinstance(backbone, MonaiFeatures):
            return _last_map(backbone, settings)
        return (backbone.tokens_width,), (settings.patch or COARSEST,)

    def train(self, mode: bool = True) -> Self:
        """Training mode of all but the batch norms, whose statistics few labels would spoil."""
        super().train(mode)
        rest_batch_norms(self)
        return self

    def stages(self, embedded: Tensor) -> list[Tensor]:
        """Maps [B, widths[l], X / strides[l], Y / strides[l]] of every level."""
        image, backbone = self.images.scaled(embedded), self.images.backbone
        if isinstance(backbone, ResNet18):
            return backbone.pyramid(image)
        if isinstance(backbone, PooledResNet50):
            return backbone.maps(image)[1:]
        if isinstance(backbone, VisionTransformer):
            patches = backbone.norm(backbone.tokens(image))[:, 1:].transpose(1, 2)
            sides = (side // backbone.patch for side in image.shape[2:])
            return [patches.reshape(*patches.shape[:2], *sides)]
        return [backbone.maps(image)]

    def layers(self) -> list[nn.ModuleList]:
        """What reads the image, then a block of a transformer, or a layer, a level."""
        backbone: Any = getattr(self.images.loaded, "model", self.images.loaded)
        blocks = list(getattr(backbone, "blocks", ()))
        if not blocks:
            names = [f"layer{number}" for number in range(1, 5)]
            blocks = [getattr(backbone, name) for name in names if hasattr(backbone, name)]
        within = {id(one) for block in blocks for one in block.parameters()}
        rest = [one for one in self.parameters() if id(one) not in within]
        return [nn.ModuleList([_Loose(rest)]), *(nn.ModuleList([one]) for one in blocks)]


def _last_map(
    backbone: MonaiFeatures, settings: AnyTileEncoder
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Channels and stride of the last map, found by trying.

    Raises:
        UsageError: there is none.
    """
    if not backbone.of_maps:
        raise UsageError(
            f"the encoder {settings.name} has no map that masks could be made of",
            "it gives features of whole images alone",
            "choose one that averages its last map, e.g. monai:DenseNet121",
        )
    image = torch.zeros(1, settings.channels, settings.side, settings.side)
    with torch.no_grad():
        found = deepcopy(backbone).eval().maps(image)
    return (found.shape[1],), (max(1, round(settings.side / found.shape[2])),)


class _Loose(nn.Module):
    """Weights that are in no block, as a module."""

    def __init__(self, weights: list[nn.Parameter]) -> None:
        super().__init__()
        self.weights = nn.ParameterList(weights)


class ImageFpn(nn.Module):
    """The encoder and a pyramid: every level to `width` channels, from coarse to fine, summed.

    A single map of a transformer is enlarged twice by two, with a convolution each, so that edges
    can be told; logits are enlarged to the image.
    """

    def __init__(self, encoder: ImagePyramid, classes: int, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.laterals = nn.ModuleList(nn.Conv2d(size, width, 1) for size in encoder.widths)
        steps = max(2, len(encoder.widths) - 1)
        self.smooths = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1), group_norm(width), nn.GELU())
            for _ in range(steps)
        )
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Images [B, C, X, Y] to logits [B, K, X, Y]."""
        *finer, x = self._laterals(self.encoder(image))
        for number, smooth in enumerate(self.smooths):
            below = finer[-1 - number] if number < len(finer) else None
            size = [2 * side for side in x.shape[2:]] if below is None else list(below.shape[2:])
            x = interpolate(x, size=size, mode="bilinear", align_corners=False)
            x = smooth(x if below is None else x + below)
        return interpolate(
            self.head(x), size=list(image.shape[2:]), mode="bilinear", align_corners=False
        )

    def _laterals(self, maps: list[Tensor]) -> Iterator[Tensor]:
        for lateral, one in zip(self.laterals, maps, strict=True):
            yield cast("Tensor", lateral(one))


def build(settings: ImageFpnSettings, channels: int, classes: int) -> ManyHeads:
    """The network: images [B, C, X, Y] to logits [B, K, X, Y]."""
    encoder = ImagePyramid(settings.image_encoder, channels)
    network = ImageFpn(encoder, classes, settings.decoder_width)
    return ManyHeads(network, encoder=encoder)
