"""Settings of `tri_training`: defaults are those of its sheet (sections 3 and 4)."""

from typing import Any, ClassVar

from pydantic import Field

from medssl.methods.settings import Family, MethodSettings
from medssl.section import Count


class Settings(MethodSettings):
    """Three networks; what two say alike teaches the third, in rounds."""

    family: ClassVar[Family] = "segment"
    implementation: ClassVar[str] = "medssl.methods.segment.tri_training:TriTraining"
    paper: ClassVar[str] = "Zhou & Li, Tri-training, IEEE TKDE 2005 (arXiv 2401.01843 compares)"
    summary: ClassVar[str] = "what two of three networks say alike teaches the third, in rounds"
    presets: ClassVar[dict[str, dict[str, Any]]] = {}

    disagreement: bool = Field(
        default=False, description="only where the third says otherwise (Soegaard 2010)"
    )
    agreed_share: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="with disagreement: of the voxels that all three say alike, to hold the inside",
    )
    rounds: Count = Field(
        default=4, ge=1, description="after the first, which learns from bootstraps of the labels"
    )
    warm: bool = Field(
        default=False, description="a round goes on with the weights of the last; else from scratch"
    )
    gate: float = Field(
        default=0.7,
        ge=0,
        le=1,
        description="least Dice of the two on a patch, mean over the classes that either finds",
    )
    measured: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="share of a round, its first, in which teachers are measured on labels that "
        "they have not seen; a member whose two err more than before is left as it was",
    )
    weight: float = Field(default=1.0, ge=0, description="of pseudo-labels, after ramp-up")
    rampup: float = Field(
        default=0.2, ge=0, le=1, description="share of a round in which that weight rises"
    )
