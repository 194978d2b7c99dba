"""Settings of `vicreg`."""

from typing import ClassVar, Literal

from pydantic import Field

from medssl.methods.pretrain.view_settings import ViewSettings


class Settings(ViewSettings):
    """VICReg: two views are alike, features vary and do not go together."""

    implementation: ClassVar[str] = "medssl.methods.pretrain.vicreg:VicReg"
    paper: ClassVar[str] = "Bardes et al., VICReg, ICLR 2022"
    summary: ClassVar[str] = "views are alike while every feature varies by itself"

    rows: Literal["scans", "tokens"] = Field(
        default="tokens", description=ViewSettings.model_fields["rows"].description
    )
    hidden: int = Field(
        default=512, ge=1, description="width of the projector's two hidden layers; published: 8192"
    )
    outputs: int = Field(default=128, ge=2, description="width of the embedding; published: 8192")
    invariance: float = Field(default=25.0, ge=0, description="weight of the views' distance")
    variance: float = Field(default=25.0, ge=0, description="weight of too little variance")
    covariance: float = Field(default=1.0, ge=0, description="weight of features that go together")
