"""The U-Nets of nnU-Net: of plain convolutions, or with an encoder of residual blocks.

Source: sheet of planning, section 2.4 (dynamic-network-architectures). A block is a convolution,
an instance norm and a leaky ReLU; sides shrink by strides, and grow by transposed convolutions
whose kernel is their stride; every stage of the decoder has a head. In two dimensions or three, as
the strides have axes.

Legend: B items, C channels, K classes, E channels of a stage, X Y Z voxels, x y z those of a stage.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, cat, nn

from medssl.networks.encoder import VolumeEncoder
from medssl.networks.flat import CONVOLUTION, INSTANCE_NORM, TRANSPOSED
from medssl.networks.heads import ManyHeads
from medssl.networks.unet_settings import Stage, UNetSettings

SLOPE = 0.01
"""Of the leaky ReLU below 0."""

MEAN_POOL = {2: nn.AvgPool2d, 3: nn.AvgPool3d}

Sides = tuple[int, ...]


def _layer(kinds: Mapping[int, Any], axes: Sides) -> Any:
    """The kind of layer for as many axes."""
    return kinds[len(axes)]


def _started(convolution: Any) -> Any:
    """With weights as in nnU-Net."""
    nn.init.kaiming_normal_(convolution.weight, a=SLOPE)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution


def _conv(inputs: int, outputs: int, kernel: Sides, stride: Sides, bias: bool = True) -> Any:
    padding = tuple((side - 1) // 2 for side in kernel)
    return _started(
        _layer(CONVOLUTION, kernel)(inputs, outputs, kernel, stride, padding, bias=bias)
    )


def _block(inputs: int, outputs: int, kernel: Sides, stride: Sides) -> nn.Sequential:
    norm = _layer(INSTANCE_NORM, kernel)(outputs, affine=True)
    conv = _conv(inputs, outputs, kernel, stride)
    return nn.Sequential(conv, norm, nn.LeakyReLU(SLOPE, inplace=True))


def _ones(like: Sides) -> Sides:
    """The stride that leaves sides as they are, and the kernel of single voxels."""
    return (1,) * len(like)


class ResidualBlock(nn.Module):
    """Two convolutions beside a skip, which is all that the block does at the start.

    Where sides shrink, the skip is the mean of the voxels; where channels change, a convolution of
    single voxels and a norm follow.
    """

    def __init__(self, inputs: int, outputs: int, kernel: Sides, stride: Sides) -> None:
        super().__init__()
        ones = _ones(kernel)
        last = _layer(INSTANCE_NORM, kernel)(outputs, affine=True)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        first = _block(inputs, outputs, kernel, stride)
        self.block = nn.Sequential(*first, _conv(outputs, outputs, kernel, ones), last)
        self.skip = nn.Sequential()
        if stride != ones:
            self.skip.append(_layer(MEAN_POOL, kernel)(stride, stride))
        if inputs != outputs:
            self.skip.append(_conv(inputs, outputs, ones, ones, bias=False))
            self.skip.append(_layer(INSTANCE_NORM, kernel)(outputs, affine=True))
        self.activation = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, x, y, z] to [B, outputs, x / stride, ...]."""
        changed: Tensor = self.activation(self.block(x) + self.skip(x))
        return changed


class UNetEncoder(VolumeEncoder):
    """Image [B, C, X, Y, Z] to the features of every stage, finest first.

    The first block of a stage has its stride, so sides must be multiples of all strides' product.
    """

    def __init__(self, channels: int, stages: Sequence[Stage], residual: bool) -> None:
        super().__init__()
        finest = stages[0]
        self.widths = tuple(stage.width for stage in stages)
        self.strides = tuple(_from_the_image(stages))
        self.embed_width, self.embed_stride = channels, 1
        self.stem = "first.0.weight" if residual else "blocks.0.0.0.weight"
        self.first: nn.Module = nn.Identity()
        inputs = channels
        if residual:
            self.first = _block(channels, finest.width, finest.kernel, _ones(finest.kernel))
            inputs = finest.width
        make = ResidualBlock if residual else _block
        self.blocks = nn.ModuleList()
        for stage in stages:
            width, kernel = stage.width, stage.kernel
            blocks = [make(inputs, width, kernel, stage.stride)]
            blocks += [make(width, width, kernel, _ones(kernel)) for _ in range(stage.blocks - 1)]
            self.blocks.append(nn.Sequential(*blocks))
            inputs = width

    def stages(self, embedded: Tensor) -> list[Tensor]:
        """Features [B, E, x, y, z] of every stage, finest first."""
        x, features = self.first(embedded), list[Tensor]()
        for block in self.blocks:
            x = block(x)
            features.append(x)
        return features

    def layers(self) -> list[nn.ModuleList]:
        """The modules of each level, finest first; the first convolution belongs to the finest."""
        finest, *others = self.blocks
        return [nn.ModuleList([self.first, finest]), *(nn.ModuleList([one]) for one in others)]


def _from_the_image(stages: Sequence[Stage]) -> list[int | Sides]:
    """Voxels of the image per voxel of every stage: a number, or one an axis where they differ."""
    found: list[int | Sides] = []
    product = _ones(stages[0].stride)
    for stage in stages:
        product = tuple(one * step for one, step in zip(product, stage.stride, strict=True))
        found.append(product if len(set(product)) > 1 else product[0])
    return found


class UNet(nn.Module):
    """Encoder, and a decoder with concatenated skips and a head at every stage.

    In training with deep supervision it gives the maps of all heads but that of the coarsest stage,
    which has no weight in nnU-Net's loss; this head is there, as in nnU-Net, and does not learn.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        stages: Sequence[Stage],
        residual: bool = False,
        deep_supervision: bool = True,
    ) -> None:
        super().__init__()
        self.encoder = UNetEncoder(channels, stages, residual)
        self.ups, self.blocks, self.heads = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for fine, coarse in pairwise(stages):
            width, kernel, stride = fine.width, fine.kernel, coarse.stride
            ones = _ones(kernel)
            self.ups.append(
                _started(_layer(TRANSPOSED, kernel)(coarse.width, width, stride, stride))
            )
            convs = [_block(2 * width, width, kernel, ones)]
            convs += [_block(width, width, kernel, ones) for _ in range(fine.convs - 1)]
            self.blocks.append(nn.Sequential(*convs))
            self.heads.append(_conv(width, classes, ones, ones))
        self.taught = max(1, len(self.heads) - 1) if deep_supervision else 1
        for untaught in self.heads[self.taught :]:
            untaught.requires_grad_(False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Image [B, C, X, Y, Z] to logits [B, K, x, y, z], finest first; one in evaluation."""
        *skips, x = self.encoder(image)
        asked = self.taught if self.training else 1
        maps: list[Tensor] = []
        for level in reversed(range(len(skips))):
            x = self.blocks[level](cat([self.ups[level](x), skips[level]], dim=1))
            if level < asked:
                maps.append(self.heads[level](x))
        return maps[::-1]


def build(settings: UNetSettings, channels: int, classes: int) -> ManyHeads:
    """The network of `plain_unet` or `residual_unet`."""
    residual = settings.name == "residual_unet"
    how = settings.stages, residual, settings.deep_supervision
    network = UNet(channels, classes, *how)
    return ManyHeads(network, encoder=network.encoder)
