"""How radiographs are cut and changed; free of torch.

Defaults are those of Semixup (its sheet, sections 5 and 8) at the size of the whole crop.
"""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class RadiographAugment(BaseModel):
    """The random transform T, drawn for every crop of an image by itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    noise: float = Field(default=0.3, ge=0, le=1, description="largest share of noise in the mix")
    noise_chance: float = Field(default=0.5, ge=0, le=1)
    rotation: float = Field(default=10.0, ge=0, le=45, description="degrees, +/- this")
    pad: float = Field(default=1.05, ge=1, description="least canvas before the crop, per side")
    gamma: tuple[float, float] = Field(default=(0.5, 1.5), description="out = in^(1 / gamma)")
    gamma_chance: float = Field(default=0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _gamma_is_positive(self) -> Self:
        if not 0 < self.gamma[0] <= self.gamma[1]:
            raise ValueError("gamma goes from a positive number to one at least as large")
        return self


class StrongAugment(BaseModel):
    """What a strong view changes beyond T; the amounts of MutexMatch (its sheet, section 4)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rotation: float = Field(default=15.0, ge=0, le=45, description="degrees, +/- this")
    contrast: tuple[float, float] = Field(
        default=(0.05, 0.95), description="1 keeps the crop, 0 leaves its mean"
    )
    sharpness: tuple[float, float] = Field(
        default=(0.05, 0.95), description="1 keeps the crop, 0 leaves it smoothed"
    )
    chance: float = Field(default=0.5, ge=0, le=1, description="of contrast and of sharpness")
    cutout: float = Field(
        default=0.25, ge=0, le=1, description="largest side of a grey square, share of the crop's"
    )
