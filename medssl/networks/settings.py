"""Settings of the networks; free of torch so that a wrong key is refused at once."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class NetworkSettings(BaseModel):
    """Which network, and how large."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["vnet", "unet3d", "monai_unet"] = "vnet"
    width: int = Field(
        default=16, ge=1, description="channels of the first level; doubled per level"
    )
    levels: int = Field(default=5, ge=2, le=6, description="resolution levels, bottleneck included")
    norm: Literal["batch", "instance"] = "batch"
    dropout: float = Field(default=0.5, ge=0, lt=1, description="V-Net: 0.5; 3-D U-Net: 0.3")
    residual_units: int = Field(default=2, ge=0, description="monai_unet only")
