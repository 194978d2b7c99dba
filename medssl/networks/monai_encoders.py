"""The encoders in networks of MONAI, by the contract of `medssl.networks.encoder`.

They are made of the modules of the network that they are in, so a weight of one is a weight of the
other. SegResNet and DynUNet embed single voxels, SwinUNETR cells.

Legend: B items, C channels, E channels of the embedding, X Y Z voxels, l level.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import mul
from typing import Any

from torch import Tensor, nn

from medssl.networks.encoder import VolumeEncoder


class SegResNetEncoder(VolumeEncoder):
    """The downward half of a SegResNet; levels have init_filters * 2^l channels."""

    stem = "convInit.conv.weight"

    def __init__(self, network: Any) -> None:
        super().__init__()
        levels = range(len(network.blocks_down))
        self.widths = tuple(network.init_filters * 2**level for level in levels)
        self.strides = tuple(2**level for level in levels)
        self.embed_width, self.embed_stride = network.in_channels, 1
        self.convInit, self.down_layers = network.convInit, network.down_layers
        self.dropout = nn.Identity() if network.dropout_prob is None else network.dropout

    def embed(self, image: Tensor) -> Tensor:
        """The image itself."""
        return image

    def stages(self, embedded: Tensor) -> list[Tensor]:
        """Features of every level, finest first."""
        return _each(self.down_layers, self.dropout(self.convInit(embedded)))

    def layers(self) -> list[nn.ModuleList]:
        """The first convolution with the finest level, then a block a level."""
        first, *others = self.down_layers
        return [nn.ModuleList([self.convInit, first]), *(nn.ModuleList([one]) for one in others)]


class DynUNetEncoder(VolumeEncoder):
    """The downward half of a DynUNet whose strides are equal along all axes."""

    stem = "input_block.conv1.conv.weight"

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.widths = tuple(network.filters)
        self.strides = tuple(accumulate(map(_equal_sides, network.strides), mul))
        self.embed_width, self.embed_stride = network.in_channels, 1
        self.input_block, self.downsamples = network.input_block, network.downsamples
        self.bottleneck = network.bottleneck

    def embed(self, image: Tensor) -> Tensor:
        """The image itself."""
        return image

    def stages(self, embedded: Tensor) -> list[Tensor]:
        """Features of every level, finest first."""
        return _each(self._blocks(), embedded)

    def layers(self) -> list[nn.ModuleList]:
        """A block a level."""
        return [nn.ModuleList([one]) for one in self._blocks()]

    def _blocks(self) -> list[nn.Module]:
        return [self.input_block, *self.downsamples, self.bottleneck]


class SwinUNETREncoder(VolumeEncoder):
    """The transformer of a SwinUNETR: cells, then four stages of attention and merging."""

    stem = "swinViT.patch_embed.proj.weight"

    def __init__(self, network: Any) -> None:
        super().__init__()
        swin, side = network.swinViT, network.patch_size
        self.swinViT, self.normalize = swin, network.normalize
        self.embed_width, self.embed_stride = swin.embed_dim, side
        self.widths = tuple(swin.embed_dim * 2**level for level in range(5))
        self.strides = tuple(side * 2**level for level in range(5))

    def embed(self, image: Tensor) -> Tensor:
        """[B, E, X / s, Y / s, Z / s]: a linear map of each cell of s voxels."""
        embedded: Tensor = self.swinViT.patch_embed(image)
        return embedded

    def stages(self, embedded: Tensor) -> list[Tensor]:
        """Features of every level, the embedding's the first, as the network sees them."""
        swin = self.swinViT
        x = swin.pos_drop(embedded)
        features = [x]
        for convolution, attention in self._stages():
            x = attention(convolution(x.contiguous()).contiguous())
            features.append(x)
        return [swin.proj_out(one, self.normalize) for one in features]

    def layers(self) -> list[nn.ModuleList]:
        """The embedding, then one stage a level."""
        stages = (nn.ModuleList(stage) for stage in self._stages())
        return [nn.ModuleList([self.swinViT.patch_embed]), *stages]

    def _stages(self) -> list[tuple[Any, Any]]:
        """The convolution of each stage, which version 2 has, and its attention."""
        swin = self.swinViT
        return [
            (
                getattr(swin, f"layers{number}c")[0] if swin.use_v2 else nn.Identity(),
                getattr(swin, f"layers{number}")[0],
            )
            for number in range(1, 5)
        ]


_ENCODERS: dict[str, Callable[[Any], VolumeEncoder]] = {
    "DynUNet": DynUNetEncoder,
    "SegResNet": SegResNetEncoder,
    "SwinUNETR": SwinUNETREncoder,
}


def encoder_in(network: nn.Module) -> VolumeEncoder | None:
    """The encoder in a network of MONAI; None where there is none that can be pre-trained."""
    kind = type(network).__name__
    if kind == "DynUNet" and not all(_equal_sides(one) for one in network.strides):  # type: ignore[union-attr]
        return None
    return _ENCODERS[kind](network) if kind in _ENCODERS else None


def _equal_sides(stride: int | Sequence[int]) -> int:
    """The stride along every axis; 0 where they differ."""
    if isinstance(stride, int):
        return stride
    return stride[0] if len(set(stride)) == 1 else 0


def _each(blocks: Any, x: Tensor) -> list[Tensor]:
    """What leaves each of the blocks, which follow upon each other."""
    features = []
    for block in blocks:
        x = block(x)
        features.append(x)
    return features
