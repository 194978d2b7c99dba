"""Settings of `mean_teacher`."""

from typing import Any, ClassVar

from pydantic import Field

from medssl.methods.segment.strong_settings import Strong
from medssl.methods.settings import Answering, Family, MethodSettings, SupervisedDice
from medssl.section import Count, Share, Steps


class Settings(MethodSettings):
    """Mean teacher (Tarvainen & Valpola 2017); uncertainty-aware as UA-MT (Yu et al. 2019)."""

    family: ClassVar[Family] = "segment"
    implementation: ClassVar[str] = "medssl.methods.segment.mean_teacher:MeanTeacher"
    paper: ClassVar[str] = "Tarvainen & Valpola, NeurIPS 2017; UA-MT: Yu et al., MICCAI 2019"
    summary: ClassVar[str] = "student follows the labels and its own moving average"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "mean_teacher": {},
        "ua_mt": {"uncertainty_aware": True},
    }

    dice: SupervisedDice = "squares"
    decay: float = Field(default=0.99, ge=0, lt=1, description="of the teacher's moving average")
    weight: float = Field(default=0.1, ge=0, description="of the consistency term, after ramp-up")
    rampup_steps: Steps = Field(default=6000, ge=1, description="UA-MT: 40 epochs of 150 steps")
    noise: float = Field(default=0.1, ge=0, description="standard deviation, clipped at twice it")
    uncertainty_aware: bool = Field(
        default=False, description="only voxels on which the teacher is certain count"
    )
    draws: Count = Field(default=8, ge=2, description="teacher passes with dropout and noise")
    threshold: tuple[Share, Share] = Field(
        default=(0.75, 1.0),
        description="share of the largest entropy below which a voxel counts: at start, at end",
    )
    strong: Strong = Field(
        default=Strong(),
        exclude_if=lambda given: given == Strong(),
        description="the student sees such a view of unlabelled patches, the teacher does not; all "
        "chances 0: no such view",
    )
    predictor: Answering = Field(
        default="teacher",
        description="who predicts; UA-MT's tables report the student. both: the mean of the two, "
        "as many networks as co-training has",
    )
