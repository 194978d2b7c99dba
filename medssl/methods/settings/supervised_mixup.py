"""Settings of `supervised_mixup`; defaults are those of Semixup's labelled batch."""

from typing import ClassVar

from pydantic import Field

from medssl.methods.settings import GradeMethodSettings


class Settings(GradeMethodSettings):
    """Mixup on the labelled images alone: Semixup without its unlabelled terms."""

    implementation: ClassVar[str] = "medssl.methods.grade.supervised_mixup:SupervisedMixup"
    paper: ClassVar[str] = "Zhang et al., mixup, ICLR 2018"
    summary: ClassVar[str] = "mixup on the labelled radiographs: the fair baseline of semixup"

    alpha: float = Field(default=0.75, gt=0, description="of the symmetric Beta distribution")
    floor: float = Field(
        default=0.7, ge=0.5, le=1, description="least weight of the image itself; 1: no mixing"
    )
