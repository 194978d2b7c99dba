"""Settings of `anatomical_embedding`.

Defaults are those of the small substitute (sheet of Alice, section 8.2), with the published
temperature of 0.5, which is at least as good (section 8.3). Distances are in voxels of the
preprocessed volume; the preset `paper` takes voxels of 2 mm. The loop's part of the paper: SGD,
learning rate 0.02, momentum 0.9, weight decay 1e-4, 500 warm-up steps of 20,000, 3 volumes
per step and half precision.
"""

from math import prod
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from medssl.errors import UsageError
from medssl.methods.settings import PretrainMethodSettings
from medssl.networks.embedder_settings import EmbedderSettings
from medssl.section import Items, Section, Triple


class Views(Section):
    """The two crops of a window; never mirrored, so that left stays left."""

    size: Triple | None = Field(
        default=None, description="voxels; null: two thirds of the window, whole coarse cells"
    )
    near: float = Field(
        default=0.8, ge=0, le=1, description="share of pairs about a common point; others lie apart"
    )
    scale: tuple[float, float] = Field(default=(0.8, 1.2), description="of each crop, all axes")
    rotation: float = Field(default=10.0, ge=0, description="degrees about each axis, +/- this")
    gain: float = Field(default=0.15, ge=0, lt=1, description="factor in 1 +/- this")
    offset: float = Field(default=0.1, ge=0, description="added, +/- this, in standard deviations")
    noise: float = Field(default=0.05, ge=0, description="standard deviation of Gaussian noise")
    blur: float = Field(default=0.0, ge=0, le=1, description="probability of a 3^3 mean")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError("scale goes from a positive number to a larger one")
        return self


class FineLoss(Section):
    """Contrast of fine vectors."""

    queries: Items = Field(default=60, ge=1, description="per crop; each crop asks the other")
    positive: float = Field(default=2.0, gt=0, description="voxels to the nearest cell, at most")
    exclusion: float = Field(default=4.0, gt=0, description="voxels; what is nearer is no negative")
    hardest: Items = Field(default=900, ge=1, description="by the sum of both similarities")
    negatives: Items = Field(default=300, ge=1, description="drawn from the hardest")
    temperature: float = Field(default=0.5, gt=0, description="divides the similarities")


class CoarseLoss(Section):
    """Contrast of coarse vectors, with those of other volumes of the batch."""

    queries: Items = Field(default=30, ge=1, description="per crop")
    positive: float = Field(default=7.0, gt=0, description="voxels to the nearest cell, at most")
    slices: float | None = Field(
        default=None, gt=0, description="voxels along the last axis, at most; null: any"
    )
    exclusion: float = Field(default=4.0, gt=0, description="voxels; what is nearer is no negative")
    hardest: Items = Field(default=100, ge=1, description="by the sum of both similarities")
    negatives: Items = Field(default=60, ge=1, description="drawn from the hardest")
    others: Items = Field(default=60, ge=0, description="from other volumes of the batch")
    temperature: float = Field(default=0.5, gt=0, description="divides the similarities")


class Settings(PretrainMethodSettings):
    """A pixel-wise contrastive embedding of anatomy (SAM), from one volume at a time."""

    own_network: ClassVar[bool] = True
    hands_on: ClassVar = "embedding"
    implementation: ClassVar[str] = (
        "medssl.methods.pretrain.anatomical_embedding:AnatomicalEmbedding"
    )
    paper: ClassVar[str] = "Yan et al., SAM, IEEE TMI 2022"
    summary: ClassVar[str] = "every place of a body gets a vector by which others' bodies match"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "embedder": {"name": "resnet18", "width": 64, "features": 128},
            "views": {
                "size": (96, 96, 32), "rotation": 0.0, "gain": 0.0, "offset": 0.0, "noise": 0.0,
            },
            "fine": {
                "queries": 100, "positive": 2.5, "exclusion": 1.5, "hardest": 2000,
                "negatives": 500,
            },
            "coarse": {
                "queries": 100, "positive": 12.5, "slices": 4.0, "exclusion": 2.5, "hardest": 250,
                "negatives": 200, "others": 300,
            },
        },
    }  # fmt: skip

    embedder: EmbedderSettings = EmbedderSettings()
    views: Views = Views()
    fine: FineLoss = FineLoss()
    coarse: CoarseLoss = CoarseLoss()

    def crop_in(self, window: tuple[int, int, int]) -> tuple[int, int, int]:
        """Sides of a crop in voxels: `views.size`, else two thirds, at least two coarse cells."""
        if self.views.size is not None:
            return self.views.size
        x, y, z = (
            max(2, round(side * 2 / 3 / step)) * step
            for side, step in zip(window, self.embedder.coarse_stride, strict=True)
        )
        return x, y, z

    def must_fit(self, config: Any) -> None:
        """Refuse crops that do not lie in the window.

        Raises:
            UsageError: names what fits.
        """
        self.must_fit_in(config.pipeline.train.patch, "train.patch", "method.views.size")

    def must_fit_in(self, window: tuple[int, int, int], patch_key: str, size_key: str) -> None:
        """As `must_fit`, for a window and a size of crops that stand under keys of their own.

        Raises:
            UsageError: names what fits.
        """
        strides, size = self.embedder.coarse_stride, self.crop_in(window)
        why = f"a crop lies in its window and consists of several cells of {list(strides)}"
        least = [max(side, 2 * step) for side, step in zip(window, strides, strict=True)]
        if self.views.size is None and least != list(window):
            raise UsageError(
                f"{patch_key}={list(window)} is too small for two crops",
                why,
                f"the nearest is {patch_key}={least}",
            )
        most = [side // step for side, step in zip(window, strides, strict=True)]
        cells = [
            min(max(1, round(side / step)), limit)
            for side, step, limit in zip(size, strides, most, strict=True)
        ]
        if prod(cells) == 1:
            cells = [min(2, limit) for limit in most]
        fitting = [count * step for count, step in zip(cells, strides, strict=True)]
        if prod(cells) < 2:
            raise UsageError(
                f"{patch_key}={list(window)} is too small for two crops",
                why,
                f"the nearest is {patch_key}={least}",
            )
        if fitting != list(size):
            raise UsageError(
                f"{size_key}={list(size)} does not fit {patch_key}={list(window)}",
                why,
                f"the nearest is {size_key}={fitting}",
            )
