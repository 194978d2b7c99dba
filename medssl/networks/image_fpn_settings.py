"""A 2-D network on an encoder of images, such as one of another project; free of torch."""

from typing import Any, Literal

from pydantic import Field

from medssl.errors import UsageError
from medssl.networks.choice import Network, NetworkChoice, OwnDecoder
from medssl.networks.monai_tile_settings import AnyTileEncoder
from medssl.networks.tile_settings import TileEncoderSettings
from medssl.section import Channels, Patch, check_patch

NAME = "image_fpn"

COARSEST = 32
"""Pixels of the image per pixel of the coarsest map of a network of convolutions."""


class ImageFpnSettings(NetworkChoice):
    """An encoder of images with a pyramid of its maps, for 2-D images."""

    name: Literal["image_fpn"] = Field(description="an encoder of images, for 2-D images")
    image_encoder: AnyTileEncoder = Field(
        default=TileEncoderSettings(),
        description="image_fpn: the encoder, whose images are in 0..1, of one channel or of three",
    )
    decoder_width: Channels = Field(default=64, description="image_fpn: channels of the decoder")
    frozen: bool = Field(default=False, description="the encoder does not learn")
    decoder: OwnDecoder = "own"

    @property
    def packages(self) -> dict[str, str]:
        """Those of the encoder."""
        return self.image_encoder.packages

    @property
    def side_multiple(self) -> int:
        """Side of a transformer's patch; of the coarsest pixels of others."""
        return self.image_encoder.patch or COARSEST

    def must_take(self, patch: Patch, items: int = 2) -> None:
        """Refuse volumes, and images that cannot be cut into patches.

        Raises:
            UsageError: names the nearest patch that it can take.
        """
        if not self.is_flat:
            raise UsageError(
                f"network.name={self.name} is for 2-D images",
                f"train.patch={list(patch)} is a box",
                f"set train.patch={list(patch[:2])}, or name another network",
            )
        check_patch(patch, self.side_multiples, self.is_flat)

    def must_have_encoder(self) -> None:
        """It has one, of images."""

    def encoder(self) -> dict[str, Any]:
        """Its name and what shapes its encoder."""
        shaping = self.image_encoder.model_dump(mode="json", exclude={"weights", "matched"})
        return {"name": self.name, "image_encoder": shaping}


IMAGE_FPN = Network(
    "medssl.networks.image_fpn:build",
    side_multiple=lambda settings: settings.side_multiple,
    encoder_keys=("image_encoder",),
    flat=True,
)
