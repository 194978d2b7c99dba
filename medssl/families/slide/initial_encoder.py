"""The pre-trained encoder that a slide classifier starts from: that of tiles."""

from pathlib import Path
from typing import Any

from medssl.data.split import verify_unseen
from medssl.errors import UsageError
from medssl.families.slide.cohort import SlideCohort
from medssl.families.slide.config import SlideConfig
from medssl.networks.tile_settings import TileEncoderSettings
from medssl.pipeline.family import InitialEncoder
from medssl.settings import EncoderSource
from medssl.train.description import WEIGHTS
from medssl.train.tile_checkpoint import read_tile_encoder


class InitialTileEncoder(InitialEncoder):
    """From an encoder of tiles."""

    def must_fit(self, config: SlideConfig, pretraining: Any) -> None:
        """Refuse a pre-training of another encoder."""
        encoder = getattr(pretraining.pipeline, "encoder", None)
        if not isinstance(encoder, TileEncoderSettings):
            raise UsageError(
                f"the pipeline {pretraining.pipeline.name} trains no encoder of tiles",
                do="name a pipeline whose method learns from tiles, e.g. slides_dino",
            )
        _must_fit(config, encoder, f"the encoder of pretrain.pipeline={pretraining.pipeline.name}")

    def verify(self, config: SlideConfig, folder: Path, cohort: SlideCohort) -> None:
        """Refuse another encoder, or one that has seen a slide that is kept for testing."""
        found = read_tile_encoder(folder)
        _must_fit(config, found.encoder, f"the encoder in {folder}")
        if cohort.declared_test:
            verify_unseen(cohort.split, cohort.cases, config.spec.name, found.seen)

    def at(self, config: SlideConfig, folder: Path) -> SlideConfig:
        """The run with the trained weights as those of its encoder."""
        encoder = config.pipeline.encoder.model_copy(update={"weights": str(folder / WEIGHTS)})
        source = EncoderSource(checkpoint=str(folder))
        pipeline = config.pipeline.model_copy(update={"encoder": encoder, "pretrain": source})
        return SlideConfig(pipeline, config.method, config.specs)


def _must_fit(config: SlideConfig, trained: TileEncoderSettings, what: str) -> None:
    own, other = (one.model_dump(exclude={"weights"}) for one in (config.pipeline.encoder, trained))
    keys = [f"encoder.{key}={value}" for key, value in other.items() if own[key] != value]
    if keys:
        raise UsageError(f"{what} does not fit the pipeline's encoder", "", f"set {' '.join(keys)}")
