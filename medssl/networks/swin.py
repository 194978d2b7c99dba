"""The Swin V2 encoder of modality-invariant learning, on MONAI's Swin transformer.

Source: sheet of modality-invariant learning, section 4: a residual convolution block before each
stage, its InstanceNorm replaced by GroupNorm, every map normalised over its channels without
affine parameters. Paper size: width 48, five levels, depths (2, 2, 6, 2), heads (3, 6, 12, 24),
window 7, which are 20.52 million parameters.

Legend: B items, C channels, E width, s side of an embedded cell, X Y Z voxels, l level.
"""

from collections.abc import Sequence
from itertools import chain
from math import ceil
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import layer_norm

from medssl.networks.encoder import VolumeEncoder
from medssl.networks.norm import group_norm

MOST_STAGES = 4
"""MONAI's transformer has no more."""


class SwinEncoder(VolumeEncoder):
    """Cells of s^3 voxels, then a stage of attention and a merging of 2^3 cells per level.

    Sides must be divisible by s * 2^(levels - 1).

    Args:
        levels: maps, the embedding's included; stages are one less, at most 4.
        depths: attention blocks of each stage; further entries are ignored.
        heads: attention heads of each stage; they must divide its width, width * 2^l.
        window: side of the window of attention, in cells.
        checkpointing: activations inside the blocks are computed again for the gradient rather
            than kept, as the released code does; the result is the same.
        drop_path: chance to skip the last block in training; it rises from 0 at the first block.
    """

    stem = "swin.patch_embed.proj.weight"

    def __init__(
        self,
        channels: int,
        width: int,
        levels: int,
        stride: int,
        depths: Sequence[int],
        heads: Sequence[int],
        window: int,
        checkpointing: bool,
        drop_path: float,
    ) -> None:
        from monai.networks.nets.swin_unetr import SwinTransformer

        super().__init__()
        self.widths = tuple(width * 2**level for level in range(levels))
        self.strides = tuple(stride * 2**level for level in range(levels))
        self.embed_width, self.embed_stride = width, stride
        self.swin = SwinTransformer(
            in_chans=channels,
            embed_dim=width,
            window_size=(window,) * 3,
            patch_size=(stride,) * 3,
            depths=depths[: levels - 1],
            num_heads=heads[: levels - 1],
            use_checkpoint=checkpointing,
            drop_path_rate=drop_path,
            use_v2=True,
            downsample="mergingv2",  # MONAI's default leaves out two of every eight cells
        )
        _use_group_norm(self.swin)

    def embed(self, image: Tensor) -> Tensor:
        """[B, E, X / s, Y / s, Z / s]: a linear map of each cell."""
        embedded: Tensor = self.swin.patch_embed(image)
        return embedded

    def stages(self, embedded: Tensor) -> list[Tensor]:
        """Features [B, E * 2^l, X / (s * 2^l), ...] for each level l, the embedding's the first."""
        features, x = [embedded], embedded
        for convolution, attention in self._stages():
            x = attend(attention, convolution(x.contiguous()))
            features.append(x)
        return [_normalised(one) for one in features]

    def layers(self) -> list[nn.ModuleList]:
        """The embedding, then one stage a level."""
        return [
            nn.ModuleList([self.swin.patch_embed]),
            *(nn.ModuleList(stage) for stage in self._stages()),
        ]

    def _stages(self) -> list[tuple[nn.Module, Any]]:
        """Convolution and attention of each stage."""
        numbers = range(1, MOST_STAGES + 1)
        convolutions = chain(*(getattr(self.swin, f"layers{number}c") for number in numbers))
        attentions = chain(*(getattr(self.swin, f"layers{number}") for number in numbers))
        return list(zip(convolutions, attentions, strict=True))


def attend(stage: Any, x: Tensor) -> Tensor:
    """MONAI's `BasicLayer` on [B, C, x, y, z], without its einops.

    Attention in windows, every second time in windows shifted by half a side, then merging: to
    [B, 2 C, x / 2, y / 2, z / 2].
    """
    from monai.networks.nets.swin_unetr import compute_mask, get_window_size

    sides = tuple(x.shape[2:])
    window, shift = get_window_size(sides, stage.window_size, stage.shift_size)
    mask = None
    if any(shift):
        padded = [ceil(side / one) * one for side, one in zip(sides, window, strict=True)]
        mask = compute_mask(padded, window, shift, x.device)
    x = x.movedim(1, -1)
    for block in stage.blocks:
        x = block(x, mask)
    merged: Tensor = stage.downsample(x)
    return merged.movedim(-1, 1)


def _use_group_norm(module: nn.Module) -> None:
    """Replace every InstanceNorm: GroupNorm depends less on how much is masked."""
    for name, child in module.named_children():
        if isinstance(child, nn.InstanceNorm3d):
            setattr(module, name, group_norm(child.num_features))
        else:
            _use_group_norm(child)


def _normalised(features: Tensor) -> Tensor:
    """[B, C, X, Y, Z] with mean 0 and variance 1 over C at every voxel."""
    last = features.movedim(1, -1)
    return layer_norm(last, last.shape[-1:]).movedim(-1, 1)
