"""Settings of `semixup`.

Defaults are the published ones (sheet, sections 3, 4 and 15), with two proper draws of the
transform where the release destroys the second (section 6). The loop's part: Adam, learning rate
1e-4, no weight decay, no schedule, 20 images per stream.
"""

from typing import Any, ClassVar, Literal

from pydantic import Field

from medssl.methods.settings import GradeMethodSettings
from medssl.section import Section


class Weights(Section):
    """Weights of the terms that need no label; 0 leaves a term out."""

    in_manifold: float = Field(default=2.0, ge=0, description="view with view")
    in_out_manifold: float = Field(default=2.0, ge=0, description="either view with the mix")
    interpolation: float = Field(default=4.0, ge=0, description="mix of images with mix of logits")


class Settings(GradeMethodSettings):
    """Consistency of views, of mixes with their nearer image, and of interpolation."""

    implementation: ClassVar[str] = "medssl.methods.grade.semixup:Semixup"
    paper: ClassVar[str] = "Nguyen et al., Semixup, IEEE TMI 2020 (arXiv 2003.01944)"
    summary: ClassVar[str] = "views and mixes of unlabelled radiographs must be answered alike"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "without_in_manifold": {"weights": {"in_manifold": 0.0}},
        "without_in_out_manifold": {"weights": {"in_out_manifold": 0.0}},
        "without_interpolation": {"weights": {"interpolation": 0.0}},
        "released_second_view": {"second_view": "released"},
    }

    weights: Weights = Weights()
    alpha: float = Field(default=0.75, gt=0, description="of the symmetric Beta distribution")
    floor_labelled: float = Field(
        default=0.7, ge=0.5, le=1, description="least weight of the image itself"
    )
    floor_unlabelled: float = Field(default=0.55, ge=0.5, le=1, description="likewise")
    second_view: Literal["drawn", "released"] = Field(
        default="drawn", description="released: of the first view cast to bytes, nearly blank"
    )
    reuse_partner: bool = Field(
        default=True,
        description="the partner's answer is the one to its own first view; false: a pass of its "
        "own, with its own dropout, as released",
    )
    warm_start: float = Field(
        default=0.0, ge=0, lt=1, description="share of the training with the supervised term alone"
    )
    rampup: float = Field(
        default=0.0, ge=0, le=1, description="share over which the weights then rise linearly"
    )
