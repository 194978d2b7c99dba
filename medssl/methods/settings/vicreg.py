"""Settings of `vicreg`."""

from typing import ClassVar

from pydantic import Field

from medssl.methods.pretrain.view_settings import ProjectedViewSettings


class Settings(ProjectedViewSettings):
    """VICReg: two views are alike, features vary and do not go together."""

    implementation: ClassVar[str] = "medssl.methods.pretrain.vicreg:VicReg"
    paper: ClassVar[str] = "Bardes et al., VICReg, ICLR 2022"
    summary: ClassVar[str] = "views are alike while every feature varies by itself"

    invariance: float = Field(default=25.0, ge=0, description="weight of the views' distance")
    variance: float = Field(default=25.0, ge=0, description="weight of too little variance")
    covariance: float = Field(default=1.0, ge=0, description="weight of features that go together")
