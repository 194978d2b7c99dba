"""Settings of `dsmil`; defaults are the release's."""

from typing import ClassVar, Literal

from pydantic import Field

from medssl.methods.settings import Family, MethodSettings
from medssl.section import Width


class Settings(MethodSettings):
    """Max-pooling branch, and attention of every patch to the query of the best one."""

    family: ClassVar[Family] = "slide"
    implementation: ClassVar[str] = "medssl.methods.slide.dsmil:Dsmil"
    paper: ClassVar[str] = "Li et al., Dual-stream MIL (DSMIL), CVPR 2021 (arXiv 2011.08939)"
    summary: ClassVar[str] = "attention to the best patch, beside a max-pooling branch"

    query_width: Width = Field(default=128, ge=1, description="width of the patches' queries")
    max_weight: float = Field(
        default=0.5, ge=0, le=1, description="of the max-pooling branch's loss; the rest is the bag"
    )
    answer: Literal["bag", "mean"] = Field(
        default="bag", description="which branch answers; mean: both, half and half"
    )
    positive_weight: bool = Field(
        default=False, description="weigh positive bags by negatives / positives"
    )
