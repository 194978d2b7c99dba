"""What every encoder of volumes offers, so that any may be pre-trained and any may be masked.

Legend: B items, C channels, E channels of the embedding, X Y Z voxels.
"""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class VolumeEncoder(nn.Module, ABC):
    """Image [B, C, X, Y, Z] to the features of every level, finest first.

    Two steps, because masks act between them: `embed` mixes no two cells of the embedding's grid,
    so what a mask token replaces is never seen.

    Attributes:
        widths: channels of each level.
        strides: voxels of the image per voxel of each level; a tuple, one number per axis, where
            the axes differ.
        embed_width: channels of the embedding.
        embed_stride: voxels of the image per voxel of the embedding.
        stem: name of the weight that reads the image; its second axis is the image's channels.
        positions: name of the learnt table of places [1, cells, E], and the grid of those cells,
            by the `embed_stride`; None: there is none.
    """

    widths: tuple[int, ...]
    strides: tuple[int | tuple[int, ...], ...]
    embed_width: int
    embed_stride: int
    stem: str
    positions: tuple[str, tuple[int, ...]] | None = None

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of all weights that read the image, of which `stem` is the first."""
        return (self.stem,)

    def embed(self, image: Tensor) -> Tensor:
        """[B, E, X / s, Y / s, Z / s], s the `embed_stride`; here the image itself, s being 1."""
        return image

    @abstractmethod
    def stages(self, embedded: Tensor) -> list[Tensor]:
        """Features of every level from an embedding, some cells of which may be a mask token."""

    @abstractmethod
    def layers(self) -> list[nn.ModuleList]:
        """All modules with weights, a list per level, for learning rates by level."""

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features [B, widths[l], X / strides[l], ...] for each level l."""
        return self.stages(self.embed(image))


class DoublingEncoder(VolumeEncoder):
    """An encoder whose widths double as sides halve, from the image itself on."""

    stem = "blocks.0.0.weight"

    def __init__(self, channels: int, width: int, levels: int) -> None:
        super().__init__()
        self.widths = tuple(width * 2**level for level in range(levels))
        self.strides = tuple(2**level for level in range(levels))
        self.embed_width, self.embed_stride = channels, 1


def per_axis(stride: int | tuple[int, ...], axes: int = 3) -> tuple[int, ...]:
    """A stride as a number for each axis."""
    return stride if isinstance(stride, tuple) else (stride,) * axes
