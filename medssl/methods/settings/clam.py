"""Settings of `clam`; defaults are the paper's for CAMELYON16 (its "small" network)."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from medssl.methods.settings import Family, MethodSettings
from medssl.section import Items, Width


class Settings(MethodSettings):
    """Gated attention, and clusters of the patches most and least attended."""

    family: ClassVar[Family] = "slide"
    implementation: ClassVar[str] = "medssl.methods.slide.clam:Clam"
    paper: ClassVar[str] = "Lu et al., CLAM, Nature Biomedical Engineering 2021 (arXiv 2004.09666)"
    summary: ClassVar[str] = "gated attention that also learns from its most and least attended"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "single": {},
        "multi": {"branches": "multi"},
        "subtyping": {"branches": "multi", "subtyping": True},
    }

    branches: Literal["single", "multi"] = Field(
        default="single", description="one attention, or one for each class"
    )
    embed_width: Width = Field(default=512, ge=1, description="of the first layer")
    hidden: Width = Field(default=256, ge=1, description="of the attention")
    dropout: float = Field(
        default=0.25, ge=0, lt=1, description="after the first layer and in the attention"
    )
    patches: Items = Field(
        default=8, ge=1, description="most and least attended, each; at most half the bag"
    )
    instance_loss: Literal["svm", "cross_entropy"] = Field(
        default="svm", description="svm: smooth top-1, margin 1, temperature 1"
    )
    bag_weight: float = Field(
        default=0.7, ge=0, le=1, description="of the bag's loss; the rest is the clusters'"
    )
    subtyping: bool = Field(
        default=False,
        description="classes exclude each other: the most attended count against the other classes",
    )
