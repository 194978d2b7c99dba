"""Settings of the method `steady`."""

from typing import ClassVar

from pydantic import Field

from medssl.methods.settings import Family, MethodSettings


class Settings(MethodSettings):
    """Labels, and logits that noise does not move on scans without labels."""

    family: ClassVar[Family] = "segment"
    implementation: ClassVar[str] = "outside_toy.method:Steady"
    paper: ClassVar[str] = "none: it shows how a method is added"
    summary: ClassVar[str] = "labels, and logits that noise does not move"

    noise: float = Field(default=0.1, ge=0, description="standard deviation, of the input")
    weight: float = Field(default=0.5, ge=0, description="of the scans without labels")
