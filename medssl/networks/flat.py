"""2-D networks among volumes one voxel thick.

Legend: B items, C channels, K classes, X Y pixels; volumes have a Z of 1.
"""

from typing import Self

from torch import Tensor, nn

from medssl.networks.encoder import VolumeEncoder, per_axis
from medssl.networks.heads import ManyHeads, heads_of

CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
BATCH_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
INSTANCE_NORM = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
CHANNEL_DROPOUT = {2: nn.Dropout2d, 3: nn.Dropout3d}
MAX_POOL = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
LINEAR = {2: "bilinear", 3: "trilinear"}
"""Layers by the number of axes."""


class FlatEncoder(VolumeEncoder):
    """The encoder of a 2-D network: volumes [B, C, X, Y, 1] to such features, finest first.

    It is made of the modules of that encoder, which holds all its weights in these, so that they
    have the names they have there.
    """

    def __init__(self, encoder: VolumeEncoder) -> None:
        super().__init__()
        for name, module in encoder.named_children():
            self.add_module(name, module)
        self._planar = (encoder,)  # in a tuple, where torch does not count its modules again
        self.widths, self.stem = encoder.widths, encoder.stem
        self.strides = tuple((*per_axis(stride, 2), 1) for stride in encoder.strides)
        self.embed_width, self.embed_stride = encoder.embed_width, encoder.embed_stride

    @property
    def stems(self) -> tuple[str, ...]:
        """As those of the 2-D encoder."""
        return self._planar[0].stems

    def embed(self, image: Tensor) -> Tensor:
        """[B, E, X / s, Y / s, 1], s the `embed_stride`.

        Raises:
            ValueError: the volume is thicker.
        """
        return self._planar[0].embed(_plane(image)).unsqueeze(-1)

    def stages(self, embedded: Tensor) -> list[Tensor]:
        """Features [B, widths[l], x, y, 1] of every level."""
        return [one.unsqueeze(-1) for one in self._planar[0].stages(_plane(embedded))]

    def layers(self) -> list[nn.ModuleList]:
        """As those of the 2-D encoder."""
        return self._planar[0].layers()

    def train(self, mode: bool = True) -> Self:
        """Training mode as the 2-D encoder understands it, which may keep some of it still."""
        self.training = mode
        self._planar[0].train(mode)
        return self


def _plane(volume: Tensor) -> Tensor:
    """[B, C, X, Y] of a volume one voxel thick."""
    if volume.shape[-1] != 1:
        raise ValueError(f"a 2-D network was given {volume.shape[-1]} slices at once")
    return volume.squeeze(-1)


class Flat(ManyHeads):
    """A network of images [B, C, X, Y] that takes volumes [B, C, X, Y, 1] and answers with such."""

    def __init__(self, network: nn.Module) -> None:
        encoder = getattr(network, "encoder", None)
        found = FlatEncoder(encoder) if isinstance(encoder, VolumeEncoder) else None
        super().__init__(network, encoder=found)

    def heads(self, image: Tensor) -> list[Tensor]:
        """Logits of every head: that of the answer [B, K, X, Y, 1], then those that help it learn.

        Raises:
            ValueError: the volume is thicker.
        """
        return [head.unsqueeze(-1) for head in heads_of(self.network, _plane(image))]
