"""Settings of `unimatch`: the released medical form, with strong views and boxes for volumes.

Source: sheet sections 2, 3 and 4 (for the changes of intensity of volumes, and boxes in 3-D).
"""

from typing import Any, ClassVar, Literal

from pydantic import Field

from medssl.errors import UsageError
from medssl.methods.segment.strong_settings import Blur, Field3d, Strong
from medssl.methods.settings import Answering, Family, MethodSettings
from medssl.section import Amount, Count, Factors, Parts, Section


class Features(Section):
    """Channels of features dropped between encoder and decoder."""

    kind: Literal["weak", "complementary", "none"] = Field(
        default="weak",
        description="weak: a third stream, the weak view with dropped channels; complementary: "
        "each channel in one of the two strong views alone, as in UniMatch V2",
    )
    dropout: float = Field(default=0.5, ge=0, lt=1, description="of each channel in that stream")
    levels: Count | None = Field(
        default=None, ge=1, description="how many of the deepest levels; null: all"
    )


class CutMix(Section):
    """Boxes of another unlabelled patch, drawn for each item and strong view."""

    probability: float = Field(default=0.5, ge=0, le=1, description="of a box; else there is none")
    share: Parts = Field(
        default=(0.02, 0.4), description="of the patch that a box holds; uniform in between"
    )
    ratio: Factors = Field(
        default=(0.3, 1 / 0.3), description="of its second side to its first; uniform in between"
    )
    partner: Literal["other_half", "reversed"] = Field(
        default="other_half",
        description="half of the unlabelled batch is only pasted from; reversed: the batch itself "
        "in reverse, as in UniMatch V2",
    )


class Settings(MethodSettings):
    """What a network is sure of on a weak view, it must say of two strong views as well."""

    family: ClassVar[Family] = "segment"
    implementation: ClassVar[str] = "medssl.methods.segment.unimatch:UniMatch"
    paper: ClassVar[str] = "Yang et al., UniMatch, CVPR 2023 (arXiv 2208.09910); V2: TPAMI 2025"
    summary: ClassVar[str] = "sure answers to weak views, taught on strong and perturbed ones"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "unimatch": {},
        "unimatch_natural": {"loss": "cross_entropy"},
        "unimatch_v2": {
            "labeller": "teacher",
            "loss": "cross_entropy",
            "strong_weights": [0.5, 0.5],
            "feature_weight": 0.0,
            "features": {"kind": "complementary"},
            "cutmix": {"partner": "reversed"},
        },
        "fixmatch": {
            "strong_weights": [1.0, 0.0],
            "feature_weight": 0.0,
            "features": {"kind": "none"},
            "cutmix": {"probability": 0.0, "partner": "reversed"},
        },
    }

    threshold: float = Field(
        default=0.95, ge=0, description="least probability of a pseudo-label that is taught"
    )
    loss: Literal["dice", "cross_entropy"] = Field(
        default="dice",
        description="on pseudo-labels: over the sure voxels; or their cross-entropy, divided by "
        "the number of all voxels, as released for natural images",
    )
    start: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the steps, the first, without pseudo-labels; released: 0",
    )
    weight: float = Field(default=0.5, ge=0, description="of all terms, that of the labels too")
    strong_weights: tuple[Amount, Amount] = Field(
        default=(0.25, 0.25), description="of either strong view, within the above; 0: none"
    )
    feature_weight: float = Field(
        default=0.5, ge=0, description="of the perturbed weak view, within the above; 0: none"
    )
    labeller: Literal["student", "teacher"] = Field(
        default="student",
        description="whose pseudo-labels; teacher: a moving average, always in evaluation mode",
    )
    train_mode: bool = Field(
        default=True,
        description="the student labels as it learns, with dropout and batch statistics; what is "
        "pasted is always labelled in evaluation mode, as released",
    )
    decay: float = Field(default=0.996, ge=0, lt=1, description="of the teacher's moving average")
    features: Features = Features()
    cutmix: CutMix = CutMix()
    strong: Strong = Field(
        default=Strong(field=Field3d(probability=0.8), blur=Blur(probability=0.5)),
        description="of each strong view; colour with 0.8 in place of field is what is released "
        "for 2-D",
    )
    predictor: Answering = Field(
        default="student", description="who predicts; both: the mean of student and teacher"
    )

    @property
    def perturbs(self) -> bool:
        """Whether features are changed."""
        weak = self.features.kind == "weak" and self.feature_weight > 0
        return weak or self.features.kind == "complementary"

    def must_fit(self, config: Any) -> None:
        """Refuse batches that cannot be halved.

        Raises:
            UsageError: says what to set.
        """
        size = config.pipeline.train.batch_unlabelled
        if self.cutmix.partner == "other_half" and size % 2:
            raise UsageError(
                f"method unimatch cannot halve train.batch_unlabelled={size}",
                "one half learns, from the other boxes are pasted",
                "give an even number, or method.cutmix.partner=reversed",
            )
