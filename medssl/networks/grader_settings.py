"""Settings of the networks that grade radiographs; free of torch."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class GraderSettings(BaseModel):
    """Which network, and how large; defaults are the paper's (sheet of Semixup, section 7)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["siamese", "resnet"] = "siamese"
    width: int = Field(default=32, ge=1, description="channels of the first stage")
    dropout: float = Field(default=0.35, ge=0, lt=1)
