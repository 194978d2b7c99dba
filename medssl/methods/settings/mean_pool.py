"""Settings of `mean_pool`."""

from typing import ClassVar

from pydantic import Field

from medssl.methods.settings import Family, MethodSettings


class Settings(MethodSettings):
    """The mean of the patches, classified by one linear layer."""

    family: ClassVar[Family] = "slide"
    implementation: ClassVar[str] = "medssl.methods.slide.mean_pool:MeanPool"
    paper: ClassVar[str] = "Wang et al., Revisiting MIL neural networks, Pattern Recognition 2018"
    summary: ClassVar[str] = "a linear classifier of the mean patch: the baseline"

    positive_weight: bool = Field(
        default=False, description="weigh positive bags by negatives / positives"
    )
