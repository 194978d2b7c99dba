"""The sections of a pipeline that segments volumes."""

from typing import Self

from pydantic import Field, model_validator

from medssl.networks.settings import NetworkSettings
from medssl.settings import (
    AugmentSettings,
    EvaluateSettings,
    FineTuneSettings,
    MethodChoice,
    PipelineFile,
    PredictSettings,
    PreprocessSettings,
    PretrainChoice,
    SplitSettings,
    TrainSettings,
)


class SegmentPipeline(PipelineFile):
    """One pipeline file that segments volumes, complete."""

    data: str = Field(description="name or path of the data spec")
    split: SplitSettings = SplitSettings()
    preprocess: PreprocessSettings = PreprocessSettings()
    network: NetworkSettings = NetworkSettings()
    method: MethodChoice = MethodChoice(name="supervised")
    pretrain: PretrainChoice | None = None
    augment: AugmentSettings = AugmentSettings()
    train: TrainSettings = TrainSettings()
    fine_tune: FineTuneSettings = FineTuneSettings()
    predict: PredictSettings = PredictSettings()
    evaluate: EvaluateSettings = EvaluateSettings()

    @model_validator(mode="after")
    def _mirrors_what_it_learned(self) -> Self:
        if self.predict.flips and not self.augment.mirrored:
            raise ValueError(
                "predict.flips=true asks about mirrored copies, and augment.flip=none shows the "
                "network none; set augment.flip=half or leave predict.flips out"
            )
        return self
