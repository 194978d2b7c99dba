"""Settings of `abmil`."""

from typing import Any, ClassVar

from pydantic import Field

from medssl.methods.settings import Family, MethodSettings
from medssl.section import Width


class Settings(MethodSettings):
    """Attention-based pooling."""

    family: ClassVar[Family] = "slide"
    implementation: ClassVar[str] = "medssl.methods.slide.abmil:Abmil"
    paper: ClassVar[str] = "Ilse et al., Attention-based deep MIL, ICML 2018 (arXiv 1802.04712)"
    summary: ClassVar[str] = "a learned weighted mean of the patches, plain or gated"
    presets: ClassVar[dict[str, dict[str, Any]]] = {"gated": {"gated": True}}

    gated: bool = Field(default=False, description="times a sigmoid gate (equation 9)")
    hidden: Width = Field(default=128, ge=1, description="width of the attention, L")
    positive_weight: bool = Field(
        default=False, description="weigh positive bags by negatives / positives"
    )
