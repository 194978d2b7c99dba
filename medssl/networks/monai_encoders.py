"""The encoders in networks of MONAI, by the contract of `medssl.networks.encoder`.

They are made of the modules of the network that they are in, so a weight of one is a weight of the
other. Most are chains of blocks, of which `CHAINS` says how to find them, and embed single voxels;
SwinUNETR and UNETR embed cells.

Legend: B items, C channels, E channels of the embedding, X Y Z voxels, l level.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from torch import Tensor, nn

from medssl.networks.encoder import VolumeEncoder, per_axis

Stride = int | tuple[int, ...]


class Chain(NamedTuple):
    """An encoder whose every level reads what leaves the level before.

    Attributes:
        levels: the blocks of each level in their order, finest level first.
        steps: from each level's side to that of the level before it, of the image at first.
        beside: convolutions that read the image beside the first.
    """

    levels: Sequence[Sequence[nn.Module]]
    steps: Iterable[Stride]
    beside: Sequence[nn.Module | None] = ()


def _attention_unet(network: Any) -> Chain:
    first, layer, _ = network.model
    blocks = [first]
    for _ in network.channels[2:]:
        block, layer = layer.submodule
        blocks.append(block)
    return _blocks([*blocks, layer.submodule], [1, *network.strides])


def _auto_encoder(network: Any) -> Chain:
    blocks = list(network.encode)
    return _blocks(blocks, network.strides, getattr(blocks[0], "residual", None))


def _autoencoder_kl(network: Any) -> Chain:
    levels: list[list[nn.Module]] = [[]]
    for block in network.encoder.blocks:
        if type(block).__name__ == "AEKLDownsample":
            levels.append([])
        levels[-1].append(block)
    return Chain(levels, [1, *[2] * (len(levels) - 1)])


def _basic_unet(network: Any) -> Chain:
    downs = (getattr(network, f"down_{level}") for level in range(1, 5))
    return _blocks([network.conv_0, *downs], [1, 2, 2, 2, 2])


def _basic_unet_plus_plus(network: Any) -> Chain:
    blocks = [getattr(network, f"conv_{level}_0") for level in range(5)]
    return _blocks(blocks, [1, 2, 2, 2, 2])


def _dynunet(network: Any) -> Chain:
    blocks = [network.input_block, *network.downsamples, network.bottleneck]
    skip = getattr(network.input_block, "conv3", None)  # of a residual block
    return _blocks(blocks, network.strides, None if skip is None else skip.conv)


def _flexible_unet(network: Any) -> Chain:
    encoder = network.encoder
    if hasattr(encoder, "layer1"):  # a ResNet
        pool = [] if encoder.no_max_pool else [encoder.maxpool]
        stem, first = [encoder.conv1, encoder.bn1, encoder.act], [*pool, encoder.layer1]
        return Chain([stem, first, [encoder.layer2], [encoder.layer3], [encoder.layer4]], [2] * 5)
    stem = [encoder._conv_stem_padding, encoder._conv_stem, encoder._bn0, encoder._swish]
    first, *others = (
        list(encoder._blocks[start:end]) for start, end in pairwise([0, *encoder.extract_stacks])
    )
    return Chain([[*stem, *first], *others], [2] * len(encoder.extract_stacks))


def _mednext(network: Any) -> Chain:
    finest, *stages = network.enc_stages
    deeper = zip(network.down_blocks, [*stages, network.bottleneck], strict=True)
    return Chain([[network.stem, finest], *deeper], [1, *[2] * len(network.down_blocks)])


def _regunet(network: Any) -> Chain:
    finest, *convolutions = network.encode_convs
    deeper = zip(network.encode_pools, [*convolutions, network.bottom_block], strict=True)
    return Chain([[finest], *deeper], [1, *[2] * network.depth])


def _segresnet(network: Any) -> Chain:
    finest, *others = network.down_layers
    dropout = [] if network.dropout_prob is None else [network.dropout]
    levels = [[network.convInit, *dropout, finest], *([one] for one in others)]
    return Chain(levels, [1, *[2] * len(others)])


def _segresnet_ds(network: Any) -> Chain:
    encoder = network.encoder
    first, *others = [one["blocks"] for one in encoder.layers]
    downs = [one["downsample"] for one in encoder.layers][:-1]
    levels = [[encoder.conv_init, first], *zip(downs, others, strict=True)]
    return Chain(levels, [1, *(one.stride for one in downs)])


def _unet(network: Any) -> Chain:
    blocks, layer = [], network.model
    for _ in network.channels[1:]:
        block, skip, _ = layer
        blocks.append(block)
        layer = skip.submodule
    skip = getattr(blocks[0], "residual", None)
    return _blocks([*blocks, layer], [*network.strides[: len(blocks)], 1], skip)


def _vqvae(network: Any) -> Chain:
    encoder = network.encoder
    each, blocks = 1 + encoder.num_res_layers, list(encoder.blocks)
    levels = [blocks[start : start + each] for start in range(0, len(blocks) - 1, each)]
    levels[-1].append(blocks[-1])
    return Chain(levels, [one[0] for one in encoder.downsample_parameters])


def _vnet(network: Any) -> Chain:
    downs = (getattr(network, f"down_tr{width}") for width in (32, 64, 128, 256))
    return _blocks([network.in_tr, *downs], [1, 2, 2, 2, 2])


def _blocks(blocks: Sequence[nn.Module], steps: Iterable[Stride], *beside: Any) -> Chain:
    """With a block a level."""
    return Chain([[one] for one in blocks], steps, beside)


CHAINS: dict[str, Callable[[Any], Chain]] = {
    "AttentionUnet": _attention_unet,
    "AutoEncoder": _auto_encoder,
    "AutoencoderKL": _autoencoder_kl,
    "BasicUNet": _basic_unet,
    "BasicUNetPlusPlus": _basic_unet_plus_plus,
    "DynUNet": _dynunet,
    "FlexibleUNet": _flexible_unet,
    "LocalNet": _regunet,
    "MedNeXt": _mednext,
    "RegUNet": _regunet,
    "SegResNet": _segresnet,
    "SegResNetDS": _segresnet_ds,
    "SegResNetDS2": _segresnet_ds,
    "SegResNetVAE": _segresnet,
    "UNet": _unet,
    "VNet": _vnet,
    "VQVAE": _vqvae,
}
"""Classes whose encoder is a chain, and how it is found in a network of them."""


class ChainEncoder(VolumeEncoder):
    """A chain of blocks, each of which makes the features of a level."""

    def __init__(self, chain: Chain) -> None:
        super().__init__()
        self.levels = nn.ModuleList(nn.Sequential(*level) for level in chain.levels)
        self.widths = tuple(_convolutions(level)[-1].out_channels for level in self.levels)
        self.strides = tuple(_products(chain.steps))[: len(self.levels)]
        first = _convolutions(self.levels[0])[0]
        self.embed_width, self.embed_stride = first.in_channels, 1
        names = {one: f"{name}.weight" for name, one in self.named_modules()}
        self.stem = names[first]
        self._stems = (self.stem, *(names[one] for one in chain.beside if _convolves(one)))

    @property
    def stems(self) -> tuple[str, ...]:
        """The first convolution's, and that of the skip of a residual block."""
        return self._stems

    def stages(self, embedded: Tensor) -> list[Tensor]:
        """Features of every level, finest first."""
        features, x = [], embedded
        for level in self.levels:
            x = level(x)
            features.append(x)
        return features

    def layers(self) -> list[nn.ModuleList]:
        """The blocks of each level."""
        return [nn.ModuleList([one]) for one in self.levels]


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


class UNETREncoder(VolumeEncoder):
    """The transformer of a UNETR, and the blocks that make finer maps of its tokens.

    The network's block that reads the image itself is left to its decoder: it would see what is
    masked. Takes images of the size that the network is for.
    """

    stem = "embedding.patch_embeddings.weight"

    def __init__(self, network: Any) -> None:
        super().__init__()
        vit, width = network.vit, network.encoder2.transp_conv_init.conv.out_channels
        self.embedding, self.blocks, self.norm = vit.patch_embedding, vit.blocks, vit.norm
        self.finer = nn.ModuleList([network.encoder2, network.encoder3, network.encoder4])
        self.embed_width, self.embed_stride = network.hidden_size, network.patch_size[0]
        self.positions = "embedding.position_embeddings", tuple(network.feat_size)
        self.widths = (width, 2 * width, 4 * width, network.hidden_size)
        self.strides = (2, 4, 8, 16)

    def embed(self, image: Tensor) -> Tensor:
        """[B, E, X / 16, Y / 16, Z / 16]: a linear map of each cell, without its place."""
        embedded: Tensor = self.embedding.patch_embeddings(image)
        return embedded

    def stages(self, embedded: Tensor) -> list[Tensor]:
        """Maps of the tokens after 4, 7 and 10 blocks, made finer, and the last tokens'."""

        def on_grid(tokens: Tensor) -> Tensor:
            return tokens.transpose(1, 2).reshape(embedded.shape)

        tokens = embedded.flatten(2).transpose(1, 2) + self.embedding.position_embeddings
        tokens = self.embedding.dropout(tokens)
        features = []
        for finer, blocks in zip(self.finer, self._blocks(), strict=False):
            tokens = blocks(tokens)
            features.append(finer(on_grid(tokens)))
        return [*features, on_grid(self.norm(self._blocks()[-1](tokens)))]

    def layers(self) -> list[nn.ModuleList]:
        """The modules of each level, finest first; the embedding belongs to the finest."""
        beside = [nn.ModuleList([self.embedding, self.finer[0]]), *self.finer[1:], self.norm]
        return [nn.ModuleList(pair) for pair in zip(self._blocks(), beside, strict=True)]

    def _blocks(self) -> list[nn.Sequential]:
        """The blocks of the transformer that each level adds."""
        ends = (0, 4, 7, 10, len(self.blocks))
        return [nn.Sequential(*self.blocks[start:end]) for start, end in pairwise(ends)]


def encoder_in(network: nn.Module) -> VolumeEncoder | None:
    """The encoder in a network of MONAI; None where there is none that can be pre-trained."""
    kind = type(network).__name__
    if kind in CHAINS:
        return ChainEncoder(CHAINS[kind](network))
    if kind == "UNETR":
        return UNETREncoder(network) if _embeds_cells(network) else None
    return SwinUNETREncoder(network) if kind == "SwinUNETR" else None


def _embeds_cells(network: Any) -> bool:
    return _convolves(network.vit.patch_embedding.patch_embeddings)


def _convolves(module: nn.Module | None) -> bool:
    return isinstance(module, nn.Conv2d | nn.Conv3d)


def _convolutions(level: nn.Module) -> list[Any]:
    return [one for one in level.modules() if _convolves(one)]


def _products(steps: Iterable[Stride]) -> list[Stride]:
    """Voxels of the image per voxel of each level: a number, or one an axis where they differ."""
    found: list[Stride] = []
    so_far: Stride = 1
    for step in steps:
        axes = max(len(one) if isinstance(one, tuple) else 1 for one in (so_far, step))
        pairs = zip(per_axis(so_far, axes), per_axis(step, axes), strict=True)
        sides = tuple(int(one * other) for one, other in pairs)
        so_far = sides if len(set(sides)) > 1 else sides[0]
        found.append(so_far)
    return found
