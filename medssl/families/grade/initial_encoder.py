"""The pre-trained encoder that a grader starts from: that of a network of slices."""

from pathlib import Path
from typing import Any

from medssl.data.split import verify_unseen
from medssl.errors import UsageError
from medssl.families.grade.cohort import GradeCohort
from medssl.families.grade.config import GradeConfig
from medssl.networks.settings import NetworkSettings
from medssl.pipeline.family import InitialEncoder
from medssl.settings import EncoderSource
from medssl.train.description import WEIGHTS
from medssl.train.encoder_checkpoint import read_encoder


class InitialSliceEncoder(InitialEncoder):
    """From an encoder of slices."""

    def must_fit(self, config: GradeConfig, pretraining: Any) -> None:
        """Refuse a pre-training of another network."""
        network = getattr(pretraining.pipeline, "network", None)
        if not isinstance(network, NetworkSettings):
            raise UsageError(
                f"the pipeline {pretraining.pipeline.name} trains no encoder of images",
                do="pre-train with network.name=slice_unet, as `medssl pretrain joint2d3d` does",
            )
        _must_fit(config, network)

    def verify(self, config: GradeConfig, folder: Path, cohort: GradeCohort) -> None:
        """Refuse an encoder of another network, or that has seen a test image."""
        trained = read_encoder(folder)
        _must_fit(config, trained.network)
        verify_unseen(cohort.split, cohort.cases, config.spec.name, trained.seen)

    def at(self, config: GradeConfig, folder: Path) -> GradeConfig:
        """The run with the encoder's weights as those of its network."""
        network = config.pipeline.network.model_copy(update={"weights": str(folder / WEIGHTS)})
        source = EncoderSource(checkpoint=str(folder))
        pipeline = config.pipeline.model_copy(update={"network": network, "pretrain": source})
        return GradeConfig(pipeline, config.method, config.specs)


def _must_fit(config: GradeConfig, trained: NetworkSettings) -> None:
    network = config.pipeline.network
    if trained.name != "slice_unet":
        raise UsageError(
            f"an encoder of {trained.name} cannot grade images",
            do="pre-train with network.name=slice_unet, as `medssl pretrain joint2d3d` does",
        )
    if network.name != "slices" or network.slice_encoder != trained.slice_encoder:
        wanted = trained.slice_encoder.model_dump(exclude_defaults=True)
        keys = " ".join(f"network.slice_encoder.{key}={value}" for key, value in wanted.items())
        raise UsageError(
            "the pre-trained encoder does not fit the pipeline's network",
            f"it is for network.name=slices {keys}".rstrip(),
            "set these",
        )
