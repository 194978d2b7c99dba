"""2-D networks among volumes one voxel thick.

Legend: B items, C channels, K classes, X Y pixels; volumes have a Z of 1.
"""

from torch import Tensor, nn

from medssl.networks.encoder import VolumeEncoder
from medssl.networks.heads import ManyHeads, heads_of

CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
BATCH_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
INSTANCE_NORM = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
CHANNEL_DROPOUT = {2: nn.Dropout2d, 3: nn.Dropout3d}
MAX_POOL = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
LINEAR = {2: "bilinear", 3: "trilinear"}
"""Layers by the number of axes."""


class Flat(ManyHeads):
    """A network of images [B, C, X, Y] that takes volumes [B, C, X, Y, 1] and answers with such."""

    def __init__(self, network: nn.Module) -> None:
        encoder = getattr(network, "encoder", None)
        super().__init__(network, encoder=encoder if isinstance(encoder, VolumeEncoder) else None)

    def heads(self, image: Tensor) -> list[Tensor]:
        """Logits of every head: that of the answer [B, K, X, Y, 1], then those that help it learn.

        Raises:
            ValueError: the volume is thicker.
        """
        if image.shape[-1] != 1:
            raise ValueError(f"a 2-D network was given {image.shape[-1]} slices at once")
        return [head.unsqueeze(-1) for head in heads_of(self.network, image.squeeze(-1))]
