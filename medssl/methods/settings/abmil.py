"""Settings of `abmil`."""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from medssl.methods.settings import Family, MethodSettings
from medssl.section import Width


class Settings(MethodSettings):
    """Attention-based pooling."""

    family: ClassVar[Family] = "slide"
    implementation: ClassVar[str] = "medssl.methods.slide.abmil:Abmil"
    paper: ClassVar[str] = "Ilse et al., Attention-based deep MIL, ICML 2018 (arXiv 1802.04712)"
    summary: ClassVar[str] = "a learned weighted mean of the patches, plain or gated"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "gated": {"gated": True},
        "classical": {"layers": [256, 128, 64], "hidden": 64},
        "classical_gated": {"layers": [256, 128, 64], "hidden": 64, "gated": True},
    }

    gated: bool = Field(default=False, description="times a sigmoid gate (equation 9)")
    hidden: Width = Field(default=128, ge=1, description="width of the attention, L")
    layers: tuple[Annotated[Width, Field(ge=1)], ...] = Field(
        default=(),
        exclude_if=lambda given: not given,
        description="widths of layers that embed each patch before it is weighted, each with ReLU "
        "and dropout; none: features are weighted as they are. Of the paper on the classical "
        "bags: 256, 128, 64",
    )
    dropout: float = Field(
        default=0.5,
        ge=0,
        lt=1,
        exclude_if=lambda given: given == 0.5,
        description="after each of these layers",
    )
    positive_weight: bool = Field(
        default=False, description="weigh positive bags by negatives / positives"
    )
