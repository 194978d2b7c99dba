"""Settings of `masked_image_modelling`."""

from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from medssl.data.scan.settings import AffineSettings, IntensitySettings
from medssl.methods.settings import PretrainMethodSettings
from medssl.section import Section


class Masking(Section):
    """Which cubes of a scan are hidden."""

    cell: int = Field(
        default=16, ge=1, description="side of a cube in voxels; nnssl 16, UMBRA 32 in 96"
    )
    ratio: tuple[float, float] = Field(
        default=(0.5, 0.75), description="share of hidden cubes, drawn for each scan"
    )

    @model_validator(mode="after")
    def _is_share(self) -> Self:
        low, high = self.ratio
        if not 0 < low <= high < 1:
            raise ValueError("ratio goes from a share above 0 to one below 1")
        return self


class Settings(PretrainMethodSettings):
    """Masked image modelling: fill in what is hidden (SimMIM's form: dense, mask tokens)."""

    implementation: ClassVar[str] = (
        "medssl.methods.pretrain.masked_image_modelling:MaskedImageModelling"
    )
    paper: ClassVar[str] = "SimMIM: Xie et al., CVPR 2022; in 3-D as Koutsouvelis et al., 2025"
    summary: ClassVar[str] = "an encoder learns to fill in hidden cubes of scans"
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {"masking": {"cell": 32}}}

    masking: Masking = Masking()
    decoder_width: int = Field(default=32, ge=1, description="channels of the light FPN decoder")
    affine: AffineSettings = AffineSettings()
    intensity: IntensitySettings = IntensitySettings()
