"""Settings of `mutexmatch`; defaults are the published ones (sheet, sections 3 to 5)."""

from typing import Any, ClassVar

from pydantic import Field

from medssl.data.radiograph.settings import StrongAugment
from medssl.methods.settings import GradeMethodSettings
from medssl.section import Items


class Settings(GradeMethodSettings):
    """Sure answers teach what an image is, unsure ones what it is not."""

    implementation: ClassVar[str] = "medssl.methods.grade.mutexmatch:MutexMatch"
    paper: ClassVar[str] = "Duan et al., MutexMatch, IEEE TNNLS 2024 (arXiv 2203.14316)"
    summary: ClassVar[str] = "sure answers are pseudo-labels, unsure ones say what is not"
    presets: ClassVar[dict[str, dict[str, Any]]] = {"fixmatch": {"negative": False}}

    threshold: float = Field(
        default=0.95,
        ge=0,
        description="least probability of a sure answer; overlapping grades: try 0.7 to 0.8",
    )
    keep: Items = Field(
        default=0, ge=0, description="largest entries of the negative target; 0: all of them"
    )
    weight: float = Field(default=1.0, ge=0, description="of both unlabelled terms")
    negative: bool = Field(default=True, description="false: FixMatch, without the second head")
    strong: StrongAugment = StrongAugment()
    decay: float = Field(default=0.999, ge=0, lt=1, description="of the weights' moving average")
