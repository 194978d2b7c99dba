"""A network of MONAI that encodes tiles, and the choice among all that do; free of torch."""

from typing import Annotated

from pydantic import ConfigDict

from medssl.networks.monai_images import MonaiImages, by_name
from medssl.networks.tile_settings import AnyEncoder, TileEncoderSettings


class MonaiTileSettings(MonaiImages, AnyEncoder):
    """A network of MONAI without its last layer, of colour images; other keys are its arguments."""

    model_config = ConfigDict(extra="allow")

    @property
    def channels(self) -> int:
        """Colours; grey images are shown as three equal ones."""
        return 3

    @property
    def adapters(self) -> None:
        """It has none."""

    @property
    def width(self) -> None:
        """It is known once the network is built."""

    @property
    def patch(self) -> None:
        """What sides it takes is found by trying."""

    def fits(self, side: int) -> bool:
        """Whether it may take images of a side; more is found by trying."""
        return self.monai.sides is None or side == self.side

    def nearest_side(self, side: int) -> int:
        """That for which it is built, where its class asks for one."""
        return side if self.monai.sides is None else self.side

    @property
    def rule(self) -> str:
        """What sides the network takes, in words."""
        return f"it is built for encoder.side={self.side} alone"


AnyTileEncoder = Annotated[
    TileEncoderSettings | MonaiTileSettings,
    by_name(MonaiTileSettings, TileEncoderSettings, AnyEncoder),
]
"""The encoder of tiles, or of other images, of a pipeline or of a checkpoint."""
