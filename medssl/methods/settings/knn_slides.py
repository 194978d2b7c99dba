"""Settings of `knn_slides`."""

from typing import ClassVar

from pydantic import Field

from medssl.methods.settings import Family, MethodSettings
from medssl.section import Items


class Settings(MethodSettings):
    """Slides are called by the labelled ones whose mean patch is most like theirs."""

    family: ClassVar[Family] = "slide"
    implementation: ClassVar[str] = "medssl.methods.slide.knn_slides:KnnSlides"
    paper: ClassVar[str] = "Goldblum et al., Battle of the Backbones, NeurIPS 2023"
    summary: ClassVar[str] = "k nearest labelled slides by their mean patch: a probe"
    by_gradient: ClassVar[bool] = False

    nearest: Items = Field(default=5, ge=1, description="so many of the nearest slides vote")
