"""Settings of `transmil`; defaults are the paper's."""

from typing import ClassVar, Self

from pydantic import Field, field_validator, model_validator

from medssl.methods.settings import Family, MethodSettings
from medssl.section import Count, Extent, Width


class Settings(MethodSettings):
    """Two layers of Nystrom attention with convolutions between them; depends on patch order."""

    family: ClassVar[Family] = "slide"
    implementation: ClassVar[str] = "medssl.methods.slide.transmil:TransMil"
    paper: ClassVar[str] = "Shao et al., TransMIL, NeurIPS 2021 (arXiv 2106.00908)"
    summary: ClassVar[str] = "a transformer with Nystrom attention and positional convolutions"

    embed_width: Width = Field(default=512, ge=1, description="of the tokens; heads must divide it")
    heads: Count = Field(default=8, ge=1, description="of the attention")
    landmarks: Width = Field(default=256, ge=1, description="half the width in the release")
    iterations: Count = Field(default=6, ge=1, description="of the pseudo-inverse")
    kernel: Extent = Field(
        default=33, ge=1, description="tokens seen by the convolution beside the attention; odd"
    )
    dropout: float = Field(default=0.1, ge=0, lt=1, description="after the attention")

    @field_validator("kernel")
    @classmethod
    def _odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError("the kernel must be odd, so that a token is at its middle")
        return kernel

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.embed_width % self.heads:
            fitting = [str(n) for n in range(1, 17) if self.embed_width % n == 0]
            raise ValueError(
                f"heads={self.heads} does not divide embed_width={self.embed_width}: choose heads "
                f"out of {', '.join(fitting)}"
            )
        return self
