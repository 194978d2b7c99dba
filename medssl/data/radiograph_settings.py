"""How radiographs are cut and changed; free of torch.

Defaults are those of Semixup (its sheet, sections 5 and 8) at the size of the whole crop.
"""

from pydantic import BaseModel, ConfigDict, Field


class RadiographAugment(BaseModel):
    """The random transform T, drawn for every crop of an image by itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    noise: float = Field(default=0.3, ge=0, le=1, description="largest share of noise in the mix")
    noise_chance: float = Field(default=0.5, ge=0, le=1)
    rotation: float = Field(default=10.0, ge=0, le=45, description="degrees, +/- this")
    pad: float = Field(default=1.05, ge=1, description="least canvas before the crop, per side")
    gamma: tuple[float, float] = Field(default=(0.5, 1.5), description="out = in^(1 / gamma)")
    gamma_chance: float = Field(default=0.5, ge=0, le=1)
