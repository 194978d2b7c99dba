"""Settings of `ict`; `alpha` and `weight` are what Semixup's authors compared with."""

from typing import ClassVar, Literal

from pydantic import Field

from medssl.methods.settings import GradeMethodSettings


class Settings(GradeMethodSettings):
    """The answer to a mix must be the mix of the teacher's answers."""

    implementation: ClassVar[str] = "medssl.methods.grade.ict:Ict"
    paper: ClassVar[str] = "Verma et al., ICT, IJCAI 2019 (arXiv 1903.03825)"
    summary: ClassVar[str] = "a mix is answered as its teacher's answers mix"

    alpha: float = Field(
        default=0.2, gt=0, description="of the symmetric Beta distribution; CIFAR-10: 1"
    )
    weight: float = Field(
        default=10.0, ge=0, description="of the consistency, after the ramp-up; CIFAR-10: 100"
    )
    rampup: float = Field(
        default=0.25, ge=0, le=1, description="share of the training; paper: a quarter"
    )
    decay: float = Field(default=0.999, ge=0, lt=1, description="of the teacher's moving average")
    predictor: Literal["teacher", "student"] = Field(
        default="teacher", description="which network grades: the moving average or the trained one"
    )
