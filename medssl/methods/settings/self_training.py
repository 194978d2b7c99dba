"""Settings of `self_training`: defaults are those of its sheet (sections 3 and 4)."""

from typing import ClassVar

from pydantic import Field

from medssl.methods.settings import Family, MethodSettings
from medssl.section import Count


class Settings(MethodSettings):
    """A network learns from what it was sure of in the round before, each round from scratch."""

    family: ClassVar[Family] = "segment"
    implementation: ClassVar[str] = "medssl.methods.segment.self_training:SelfTraining"
    paper: ClassVar[str] = "Yarowsky, ACL 1995; as Kesgin & Amasyali, ASYU 2022 (arXiv 2401.01843)"
    summary: ClassVar[str] = "rounds of pseudo-labels by the network of the round before"

    rounds: Count = Field(
        default=4, ge=1, description="after the first, which learns from labels alone"
    )
    warm: bool = Field(
        default=False, description="a round goes on with the weights of the last; else from scratch"
    )
    threshold_foreground: float = Field(
        default=0.9, ge=0, description="least probability of a foreground label that is taught"
    )
    threshold_background: float = Field(
        default=0.95, ge=0, description="least probability of background that is taught"
    )
    weight: float = Field(default=1.0, ge=0, description="of pseudo-labels, after ramp-up")
    rampup: float = Field(
        default=0.2, ge=0, le=1, description="share of a round in which that weight rises"
    )
