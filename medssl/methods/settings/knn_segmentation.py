"""Settings of `knn_segmentation`."""

from typing import Any, ClassVar

from pydantic import Field

from medssl.errors import UsageError
from medssl.methods.settings import Family, MethodSettings
from medssl.section import Items


class Settings(MethodSettings):
    """Voxels are named by the labelled voxels that a frozen encoder finds most like them."""

    family: ClassVar[Family] = "segment"
    implementation: ClassVar[str] = "medssl.methods.segment.knn_segmentation:KnnSegmentation"
    paper: ClassVar[str] = "Goldblum et al., Battle of the Backbones, NeurIPS 2023"
    summary: ClassVar[str] = "k nearest labelled voxels by a frozen encoder: a probe"
    by_gradient: ClassVar[bool] = False

    voxels: Items = Field(
        default=8, ge=1, description="kept of each class that a patch shows, drawn at random"
    )

    def must_fit(self, config: Any) -> None:
        """Refuse a network that keeps no voxels, and regions, which are no classes.

        Raises:
            UsageError: says what to set.
        """
        if config.pipeline.network.probed != "neighbours":
            raise UsageError(
                "method=knn_segmentation keeps voxels to compare with",
                f"network.decoder={config.pipeline.network.decoder} keeps none",
                "set network.decoder=neighbours",
            )
        if config.spec.regions:
            raise UsageError(
                "method=knn_segmentation gives every voxel one class",
                f"the data set {config.spec.name} declares regions, which overlap",
                "choose another method",
            )
