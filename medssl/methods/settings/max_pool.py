"""Settings of `max_pool`."""

from typing import ClassVar

from pydantic import Field

from medssl.methods.settings import Family, MethodSettings


class Settings(MethodSettings):
    """One linear layer scores the patches; the best patch answers for the bag."""

    family: ClassVar[Family] = "slide"
    implementation: ClassVar[str] = "medssl.methods.slide.max_pool:MaxPool"
    paper: ClassVar[str] = "Campanella et al., Nature Medicine 2019 (max-pooling MIL)"
    summary: ClassVar[str] = "linear patch scores, the largest is the slide's: the baseline"

    positive_weight: bool = Field(
        default=False, description="weigh positive bags by negatives / positives"
    )
