"""The sections of a pipeline of radiographs; every key has a type, a default and a meaning."""

from typing import Literal

from pydantic import Field

from medssl.data.radiograph.settings import CropSettings, GradeSplitSettings, RadiographAugment
from medssl.networks.grader_settings import GraderSettings
from medssl.section import Section
from medssl.settings import (
    EncoderSource,
    LoopSettings,
    MethodChoice,
    OptimiserSettings,
    PipelineFile,
)


class GradeTrainSettings(LoopSettings):
    """The loop over batches of radiographs; the optimiser is Semixup's."""

    batch_labelled: int = Field(default=20, ge=1, description="images")
    batch_unlabelled: int = Field(default=20, ge=1, description="images")
    watched: int = Field(
        default=200, ge=0, description="unlabelled images on which collapse is watched"
    )
    optimiser: OptimiserSettings = OptimiserSettings(
        name="adam", learning_rate=1e-4, weight_decay=0.0, schedule="constant"
    )


class GradePredictSettings(Section):
    """Which weights grade, and how many images at once."""

    checkpoint: Literal["last", "best"] = Field(
        default="best",
        description="best: by the mean of quadratic kappa and balanced accuracy on validation",
    )
    batch: int = Field(default=64, ge=1, description="images")


class GradeEvaluateSettings(Section):
    """Scores of the test images."""

    disease_from: int = Field(
        default=2, ge=1, description="index of the least grade with the disease; knees: KL 2"
    )
    bootstrap: int = Field(
        default=1000, ge=100, description="draws of images for the 95 % intervals"
    )
    overlays: int = Field(
        default=3,
        ge=0,
        description="wrong calls drawn, farthest off first; 0 draws none, not the surest right one "
        "of each grade either",
    )


class GradePipeline(PipelineFile):
    """One pipeline file of radiographs, complete."""

    data: str = Field(description="name or path of the data spec")
    split: GradeSplitSettings = GradeSplitSettings()
    crop: CropSettings = CropSettings()
    network: GraderSettings = GraderSettings()
    pretrain: EncoderSource | None = None
    method: MethodChoice = MethodChoice(name="semixup")
    augment: RadiographAugment = RadiographAugment()
    train: GradeTrainSettings = GradeTrainSettings()
    predict: GradePredictSettings = GradePredictSettings()
    evaluate: GradeEvaluateSettings = GradeEvaluateSettings()


class FileSettings(Section):
    """What `medssl predict --set` can say of files that do not say it themselves."""

    side: Literal["L", "R"] | None = Field(default=None, description="of the body, of all files")
    spacing: float | None = Field(default=None, gt=0, description="mm per pixel, of all files")
