"""Settings of `barlow_twins`."""

from typing import ClassVar

from pydantic import Field

from medssl.methods.pretrain.view_settings import ProjectedViewSettings


class Settings(ProjectedViewSettings):
    """Barlow Twins: features of two views agree one by one, and are not redundant."""

    implementation: ClassVar[str] = "medssl.methods.pretrain.barlow_twins:BarlowTwins"
    paper: ClassVar[str] = "Zbontar et al., Barlow Twins, ICML 2021"
    summary: ClassVar[str] = "features of two views agree one by one and not with each other"

    redundancy: float = Field(
        default=0.0051, ge=0, description="weight of correlations between different features"
    )
