"""The sections of a pipeline that pre-trains an encoder: of volumes, or of tiles."""

from typing import Annotated

from annotated_types import MinLen
from pydantic import Field, field_validator

from medssl.data.mixed.settings import MixedSampling
from medssl.data.slide.settings import TileSettings
from medssl.networks.settings import NetworkSettings
from medssl.networks.tile_settings import TileEncoderSettings
from medssl.section import OneAlone, Patch, Section
from medssl.settings import (
    LoopSettings,
    MethodChoice,
    OptimiserSettings,
    PipelineFile,
    PreprocessSettings,
)


class PretrainTrainSettings(LoopSettings):
    """The loop over windows of scans."""

    patch: Patch = Field(
        default=(32, 32, 32), description="voxels of the windows that the encoder learns from"
    )
    batch_pairs: int = Field(default=8, ge=2, description="pairs of scans per step")
    batch_scans: int = Field(default=8, ge=1, description="single scans per step")
    joint: MixedSampling = Field(
        default=MixedSampling(), description="joint2d3d: its batches, in place of the above"
    )
    optimiser: OptimiserSettings = OptimiserSettings(
        name="adamw", learning_rate=1e-3, weight_decay=0.01, schedule="cosine", minimum=1e-5
    )
    clip_norm: float | None = Field(
        default=10.0, gt=0, description="largest norm of a gradient; null: any"
    )
    validate_every: int = Field(default=500, ge=1, description="steps between probes")


class ProbeSettings(Section):
    """What is asked of the encoder while it learns, on patients that it does not learn from."""

    patients: int = Field(
        default=2, ge=0, description="of each data set, kept from training; 0 probes nothing"
    )
    windows: int = Field(default=16, ge=1, description="places per session")
    seed: int = Field(default=0, description="of the draw of patients, places and affines")
    neighbours: int = Field(default=5, ge=1, description="of the k-nearest-neighbour probe")
    shots: int = Field(default=5, ge=1, description="windows per class that it may compare with")
    pictures: int = Field(default=4, ge=0, description="reconstructions drawn")


class PretrainPipeline(PipelineFile):
    """One pipeline file that pre-trains an encoder of volumes, complete."""

    data: Annotated[tuple[str, ...], MinLen(1), OneAlone()] = Field(
        description="data specs; one or several"
    )
    exclude: Annotated[tuple[str, ...], OneAlone()] = Field(
        default=(), description="segmentation pipelines whose test patients are kept out"
    )
    preprocess: PreprocessSettings = PreprocessSettings(crop_foreground=True)
    network: NetworkSettings = NetworkSettings()
    method: MethodChoice = MethodChoice(name="masked_image_modelling")
    train: PretrainTrainSettings = PretrainTrainSettings()
    probe: ProbeSettings = ProbeSettings()

    @field_validator("network")
    @classmethod
    def _learns(cls, network: NetworkSettings) -> NetworkSettings:
        if network.frozen:
            raise ValueError("network.frozen leaves nothing to pre-train: leave it out")
        return network


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
