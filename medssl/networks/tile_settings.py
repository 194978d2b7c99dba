"""Settings of the tile encoders; free of torch so that a wrong key is refused at once."""

import hashlib
from pathlib import Path
from typing import Literal, NamedTuple, Self

from pydantic import Field, model_validator

from medssl.section import Section, digest


class TransformerSize(NamedTuple):
    """Size of a vision transformer; `patch` in pixels."""

    patch: int
    width: int
    depth: int
    heads: int


TRANSFORMERS = {
    "vit_tiny": TransformerSize(patch=16, width=128, depth=4, heads=4),
    "vit_small_16": TransformerSize(patch=16, width=384, depth=12, heads=6),
    "vit_small_8": TransformerSize(patch=8, width=384, depth=12, heads=6),
    "vit_base_16": TransformerSize(patch=16, width=768, depth=12, heads=12),
}
RESNET_WIDTH = 512
RESNET_SMALLEST = 33
"""Smallest side in pixels: below, the last map has one pixel, which InstanceNorm cannot scale."""


class AdapterSettings(Section):
    """AdaptFormer adapters in every block; all other weights of the encoder are frozen."""

    bottleneck: int = Field(default=32, ge=1, description="DINO: 32; MAE: 64")
    scale: float = Field(default=10.0, gt=0, description="DINO: 10; MAE: 1")


class TileEncoderSettings(Section):
    """What turns a tile into a feature vector."""

    name: Literal["vit_tiny", "vit_small_16", "vit_small_8", "vit_base_16", "resnet18_instance"] = (
        Field(
            default="vit_tiny",
            description="vision transformers by size and pixels of a patch, or ResNet18 with "
            "InstanceNorm (DSMIL)",
        )
    )
    side: int = Field(default=224, ge=1, description="pixels; tiles are resized to it")
    normalise: Literal["none", "imagenet"] = Field(
        default="none", description="of the intensities, as the weights were trained"
    )
    adapters: AdapterSettings | None = None
    weights: str | None = Field(
        default=None, description="file .safetensors, .pth or .pt; null: random from the seed"
    )
    matched: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="share of the parameters that `weights` must hold; less excuses "
        "whole blocks at the end, never a part of one",
    )
    pooling: Literal["cls", "mean"] = Field(
        default="cls", description="of a transformer's tokens; the ResNet averages its last map"
    )

    @property
    def width(self) -> int:
        """Features of a tile."""
        size = TRANSFORMERS.get(self.name)
        return RESNET_WIDTH if size is None else size.width

    def fits(self, side: int) -> bool:
        """Whether the network can take images with sides of so many pixels."""
        size = TRANSFORMERS.get(self.name)
        return side >= RESNET_SMALLEST if size is None else side % size.patch == 0

    def nearest_side(self, side: int) -> int:
        """The side nearest to `side`, in pixels, that the network can take."""
        size = TRANSFORMERS.get(self.name)
        if size is None:
            return max(side, RESNET_SMALLEST)
        return max(1, round(side / size.patch)) * size.patch

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.fits(self.side):
            raise ValueError(
                f"{self.name} cannot take images of side={self.side}: {self.rule}, and the nearest "
                f"is {self.nearest_side(self.side)}"
            )
        if self.adapters is not None and self.name not in TRANSFORMERS:
            raise ValueError(f"{self.name} has no transformer blocks to put adapters in")
        return self

    @property
    def rule(self) -> str:
        """What sides the network takes, in words."""
        size = TRANSFORMERS.get(self.name)
        if size is None:
            return f"at least {RESNET_SMALLEST} are needed"
        return f"a multiple of {size.patch} is needed"


def encoder_hash(settings: TileEncoderSettings, seed: int) -> str:
    """8 hex characters of the encoder with its weights, wherever their file lies."""
    plain = settings.model_dump(mode="json", exclude={"weights"})
    if settings.weights is None:
        return digest([plain, seed])
    with Path(settings.weights).open("rb") as stream:
        return digest([plain, hashlib.file_digest(stream, "sha256").hexdigest()])
