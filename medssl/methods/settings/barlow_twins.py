"""Settings of `barlow_twins`."""

from typing import ClassVar, Literal

from pydantic import Field

from medssl.methods.pretrain.view_settings import ViewSettings


class Settings(ViewSettings):
    """Barlow Twins: features of two views agree one by one, and are not redundant."""

    implementation: ClassVar[str] = "medssl.methods.pretrain.barlow_twins:BarlowTwins"
    paper: ClassVar[str] = "Zbontar et al., Barlow Twins, ICML 2021"
    summary: ClassVar[str] = "features of two views agree one by one and not with each other"

    rows: Literal["scans", "tokens"] = Field(
        default="tokens", description=ViewSettings.model_fields["rows"].description
    )
    hidden: int = Field(
        default=512, ge=1, description="width of the projector's two hidden layers; published: 8192"
    )
    outputs: int = Field(default=128, ge=2, description="width of the embedding; published: 8192")
    redundancy: float = Field(
        default=0.0051, ge=0, description="weight of correlations between different features"
    )
