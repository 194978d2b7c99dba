"""Settings of `mixmatch`; `weight` is what Semixup's authors compared with."""

from typing import ClassVar, Literal

from pydantic import Field

from medssl.methods.settings import GradeMethodSettings
from medssl.section import Count


class Settings(GradeMethodSettings):
    """Guessed, sharpened labels; labelled and unlabelled images mixed with one another."""

    implementation: ClassVar[str] = "medssl.methods.grade.mixmatch:MixMatch"
    paper: ClassVar[str] = "Berthelot et al., MixMatch, NeurIPS 2019 (arXiv 1905.02249)"
    summary: ClassVar[str] = "labels guessed from several views, all images mixed"

    guesses: Count = Field(default=2, ge=1, description="views whose answers are averaged, K")
    temperature: float = Field(default=0.5, gt=0, description="of the sharpening, T")
    alpha: float = Field(default=0.75, gt=0, description="of the symmetric Beta distribution")
    weight: float = Field(
        default=10.0, ge=0, description="of the unlabelled term, after the ramp-up; CIFAR-10: 75"
    )
    rampup: float = Field(
        default=0.25, ge=0, le=1, description="share of the training, linear; paper: 16,000 steps"
    )
    decay: float = Field(default=0.999, ge=0, lt=1, description="of the weights' moving average")
    predictor: Literal["average", "network"] = Field(
        default="average", description="of the weights, as published, or the trained ones"
    )
