"""Settings of `ad_mt`: defaults are the paper's for the left atrium (sheet sections 4 and 5)."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from medssl.methods.segment.strong_settings import Blur, Colour, Linear, Speckle, Strong
from medssl.methods.settings import Family, MethodSettings
from medssl.section import Section, Steps


class CutMix(Section):
    """Boxes of another patch, in the turns of the second teacher."""

    alpha: float = Field(default=4.0, gt=0, description="of the symmetric Beta distribution")
    side: Literal["square_root", "volume"] = Field(
        default="square_root",
        description="of a box: (1 - lambda)^(1/2) of each side, as released, or as much of each as "
        "leaves a share of 1 - lambda of the volume",
    )


class Settings(MethodSettings):
    """Two teachers that follow one student in turns, each under another kind of strong view."""

    family: ClassVar[Family] = "segment"
    implementation: ClassVar[str] = "medssl.methods.segment.ad_mt:AdMt"
    paper: ClassVar[str] = "Zhao et al., AD-MT, ECCV 2024 (arXiv 2311.17325)"
    summary: ClassVar[str] = "one student, two moving averages that take turns"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "ad_mt": {},
        "ad_mt_released": {"overrule": "released"},
        "ad_mt_acdc": {
            "longest_turn": 50,
            "threshold": 0.95,
            "loss": "dice",
            "rampup_steps": 7500,
            "copied_steps": 100,
            "strong": {
                "linear": {"probability": 0.0},
                "colour": {"probability": 0.8},
                "blur": {"probability": 0.2},
                "noise": {"probability": 0.0},
            },
        },
    }

    longest_turn: Steps = Field(
        default=19,
        ge=1,
        description="steps; each turn of a teacher is uniform from 1 to this. Half a pass over the "
        "unlabelled cases",
    )
    threshold: float = Field(
        default=0.8, ge=0, description="least probability of a pseudo-label that is taught"
    )
    loss: Literal["cross_entropy", "dice"] = Field(
        default="cross_entropy", description="on pseudo-labels; dice as released for ACDC"
    )
    overrule: Literal["aligned", "released", "never"] = Field(
        default="aligned",
        description="where the teachers disagree a surer student labels itself; released: in "
        "pasted boxes by what it says of another place",
    )
    weight: float = Field(default=2.0, ge=0, description="of pseudo-labels, after ramp-up")
    rampup_steps: Steps = Field(default=6000, ge=1, description="of that weight, Gaussian")
    rampup_every: Steps = Field(default=150, ge=1, description="steps between its changes")
    decay: float = Field(default=0.99, ge=0, lt=1, description="of the teachers' moving averages")
    copied_steps: Steps = Field(
        default=80, ge=0, description="first steps, in which a teacher is a copy at its turns"
    )
    cutmix: CutMix = CutMix()
    strong: Strong = Field(
        default=Strong(
            linear=Linear(probability=0.8),
            colour=Colour(),
            blur=Blur(),
            noise=Speckle(probability=0.2),
        ),
        description="what the first teacher's turns change",
    )
    predictor: Literal["student", "teacher_1", "teacher_2", "teachers"] = Field(
        default="student", description="who predicts; teachers: the mean of both"
    )
