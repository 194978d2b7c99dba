"""Settings of `decoupled_contrastive`."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from medssl.methods.pretrain.view_settings import ViewSettings
from medssl.section import Width


class Settings(ViewSettings):
    """DCL: contrast without the positive in the denominator, which suits small batches."""

    implementation: ClassVar[str] = (
        "medssl.methods.pretrain.decoupled_contrastive:DecoupledContrastive"
    )
    paper: ClassVar[str] = "Yeh et al., Decoupled Contrastive Learning, ECCV 2022"
    summary: ClassVar[str] = "views of a scan are told apart from other scans, decoupled"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "dense": {"rows": "tokens"},
        "weighted": {"loss": "dclw"},
    }

    loss: Literal["dcl", "dclw", "nt_xent"] = Field(
        default="dcl",
        description="dclw: unlike views weigh more; nt_xent: the positive is in the denominator "
        "too, the loss to compare with",
    )
    temperature: float = Field(default=0.1, gt=0, description="divides the similarities")
    sigma: float = Field(default=0.5, gt=0, description="dclw: divides those that weights are from")
    detach_weight: bool = Field(
        default=False, description="dclw: no gradient through the weights; released: false"
    )
    negatives: Literal["all", "other_patients"] = Field(
        default="all", description="all: other places of the same patient too"
    )
    apart: float = Field(
        default=8.0,
        ge=0,
        description="rows of tokens: voxels within which tokens of one scan are no negatives",
    )
    hidden: Width = Field(default=512, ge=1, description="width of the projector's hidden layer")
    outputs: Width = Field(default=128, ge=2, description="width of the embedding")
