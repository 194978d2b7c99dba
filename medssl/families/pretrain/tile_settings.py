"""The sections of a pipeline that pre-trains an encoder of tiles of slides."""

from pydantic import Field

from medssl.data.slide.settings import TileSettings
from medssl.networks.tile_settings import TileEncoderSettings
from medssl.settings import LoopSettings, MethodChoice, OptimiserSettings, PipelineFile


class TilePretrainSettings(LoopSettings):
    """The loop over tiles without labels."""

    steps: int = Field(default=1000, ge=1, description="training steps")
    batch: int = Field(default=16, ge=2, description="tiles")
    per_slide: int = Field(default=50, ge=1, description="at most so many random tiles of a slide")
    optimiser: OptimiserSettings = OptimiserSettings(
        name="adamw",
        learning_rate=5e-4 * 16 / 256,  # the paper's, by the size of the batch
        weight_decay=0.04,
        weight_decay_end=0.4,
        decay_vectors=False,
        schedule="cosine",
        minimum=1e-6,
    )
    clip_norm: float | None = Field(
        default=3.0, gt=0, description="largest norm of a gradient; null: any"
    )


class TilePretrainPipeline(PipelineFile):
    """One pipeline file that pre-trains an encoder of tiles, complete."""

    data: str = Field(description="name or path of a data spec of slides")
    tiles: TileSettings = TileSettings()
    encoder: TileEncoderSettings = TileEncoderSettings()
    method: MethodChoice = MethodChoice(name="dino")
    train: TilePretrainSettings = TilePretrainSettings()
