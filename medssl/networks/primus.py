"""Primus, as dynamic-network-architectures builds it, by the contract of encoders of volumes.

Legend: B items, C channels, E numbers of a token, K classes, X Y Z voxels, x y z cells.
"""

from typing import Any

from torch import Tensor, nn

from medssl.errors import UsageError
from medssl.networks.encoder import VolumeEncoder
from medssl.networks.primus_settings import PrimusSettings

INSTALL = (
    "install it with `pip install 'medssl[primus]'`, and torchvision from the same index as torch"
)


class PrimusEncoder(VolumeEncoder):
    """Image [B, C, X, Y, Z] to one map [B, E, x, y, z], of the tokens after the last block.

    Images have the size that the positions are for.
    """

    stem = "down_projection.proj.weight"

    def __init__(self, network: Any, width: int, cell: int, grid: tuple[int, ...]) -> None:
        super().__init__()
        self.down_projection, self.eva = network.down_projection, network.eva
        self.positions = "eva.pos_embed", grid
        self.widths, self.strides = (width,), (cell,)
        self.embed_width, self.embed_stride = width, cell

    def embed(self, image: Tensor) -> Tensor:
        """[B, E, x, y, z]: a linear map of each cell."""
        embedded: Tensor = self.down_projection(image)
        return embedded

    def stages(self, embedded: Tensor) -> list[Tensor]:
        """The map of the tokens."""
        tokens, _ = self.eva(embedded.flatten(2).transpose(1, 2))
        return [tokens.transpose(1, 2).reshape(embedded.shape)]

    def layers(self) -> list[nn.ModuleList]:
        """All modules: there is one level."""
        return [nn.ModuleList([self.down_projection, self.eva])]


class Primus(nn.Module):
    """The encoder and the original's decoder of transposed convolutions."""

    def __init__(self, network: Any, width: int, cell: int, grid: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder = PrimusEncoder(network, width, cell, grid)
        self.decoder = network.up_projection

    def forward(self, image: Tensor) -> Tensor:
        """Image [B, C, X, Y, Z] to logits [B, K, X, Y, Z]."""
        logits: Tensor = self.decoder(self.encoder(image)[-1])
        return logits


def build(settings: PrimusSettings, channels: int, classes: int) -> Primus:
    """The network of `primus`.

    Raises:
        UsageError: its package is not installed or cannot be used, or the size of its images is
            not known.
    """
    if settings.input_shape is None:
        raise UsageError(
            "network.name=primus has positions for images of one size",
            "it is not said which",
            "set network.input_shape",
        )
    network = _original().Primus(
        channels,
        settings.width,
        (settings.cell_side,) * 3,
        classes,
        settings.depth,
        settings.heads,
        settings.input_shape,
        init_values=0.1,
        scale_attn_inner=True,
    )
    grid = tuple(side // settings.cell_side for side in settings.input_shape)
    return Primus(network, settings.width, settings.cell_side, grid)


def _original() -> Any:
    try:
        from dynamic_network_architectures.architectures import primus
    except (ImportError, RuntimeError) as error:
        raise UsageError(
            "network.name=primus is of dynamic-network-architectures, which cannot be imported",
            str(error),
            INSTALL,
        ) from error
    return primus
