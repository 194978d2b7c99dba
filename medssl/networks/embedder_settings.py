"""Settings of the anatomical embedder; free of torch so that a wrong key is refused at once."""

from typing import Literal

from pydantic import Field

from medssl.section import Channels, Section


class EmbedderSettings(Section):
    """The network that gives every place of a volume a vector."""

    name: Literal["lite", "resnet18"] = Field(
        default="lite",
        description="lite: four small stages of stride 2, 2, 2, 1; resnet18: the published "
        "network, whose last axis is the one across slices",
    )
    width: Channels = Field(default=16, description="channels of the first stage; resnet18: 64")
    features: int = Field(
        default=32, ge=2, le=16384, description="of a fine and of a coarse vector; paper: 128"
    )

    @property
    def coarse_stride(self) -> tuple[int, int, int]:
        """Voxels of a coarse cell along each axis; sides of what it embeds are multiples of it."""
        return (8, 8, 8) if self.name == "lite" else (16, 16, 4)
