"""Which pre-trained encoder a grader can start from: that of a network of slices."""

from medssl.errors import UsageError
from medssl.families.grade.config import GradeConfig
from medssl.networks.settings import NetworkSettings


def must_fit(config: GradeConfig, trained: NetworkSettings, what: str) -> None:
    """Refuse an encoder of another network.

    Raises:
        UsageError: names the keys to set.
    """
    network = config.pipeline.network
    if trained.name != "slice_unet":
        raise UsageError(
            f"{what} is of the network {trained.name}, which cannot grade images",
            do="pre-train with network.name=slice_unet, as `medssl pretrain joint2d3d` does",
        )
    if network.name != "slices" or network.slice_encoder != trained.slice_encoder:
        wanted = trained.slice_encoder.model_dump(exclude_defaults=True)
        keys = " ".join(f"network.slice_encoder.{key}={value}" for key, value in wanted.items())
        raise UsageError(
            f"{what} does not fit the pipeline's network",
            f"it is for network.name=slices {keys}".rstrip(),
            "set these",
        )
