"""Settings of `pi_model`; `weight` is what Semixup's authors compared with."""

from typing import ClassVar

from pydantic import Field

from medssl.methods.settings import GradeMethodSettings


class Settings(GradeMethodSettings):
    """Two random views of an image must be answered alike."""

    implementation: ClassVar[str] = "medssl.methods.grade.pi_model:PiModel"
    paper: ClassVar[str] = "Laine & Aila, Temporal ensembling, ICLR 2017 (arXiv 1610.02242)"
    summary: ClassVar[str] = "two views of a radiograph must be answered alike"

    weight: float = Field(default=1.0, ge=0, description="of the consistency, after the ramp-up")
    rampup: float = Field(
        default=0.25, ge=0, le=1, description="share of the training; paper: 80 of 300 epochs"
    )
