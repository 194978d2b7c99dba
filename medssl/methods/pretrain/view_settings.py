"""Settings that methods which compare two views of a scan share; free of torch."""

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from medssl.data.scan.settings import AffineSettings, IntensitySettings, PairSettings
from medssl.methods.settings import PretrainMethodSettings
from medssl.networks.pooling import must_keep_means
from medssl.section import Width


class ViewSettings(PretrainMethodSettings):
    """Two views of each item: what they show, how they differ, and what counts as a row."""

    in_2d: ClassVar[bool] = True

    kind: Literal["same_scan", "modalities"] = Field(
        default="same_scan", description="one scan twice, or two contrasts of one session"
    )
    rows: Literal["scans", "tokens"] = Field(
        default="scans",
        description="what is compared: scans, each pooled to one vector; tokens: cells of the "
        "coarsest map, at places that both views show",
    )
    tokens: Width = Field(
        default=256, ge=4, description="drawn per step where rows is tokens; fewer if there are"
    )
    affine: AffineSettings = AffineSettings()
    intensity: IntensitySettings = IntensitySettings()

    @property
    def pairs(self) -> PairSettings:
        """How the pairs of scans are drawn: every session equally often."""
        return PairSettings(kind=self.kind)

    def must_fit(self, config: Any) -> None:
        """Refuse an encoder of instance norms where scans are averaged.

        Raises:
            UsageError: says what to set.
        """
        if self.rows == "scans":
            must_keep_means(config.pipeline.network, config.pipeline.method.name, "a scan")

    @model_validator(mode="after")
    def _places_are_known(self) -> Self:
        moved = self.affine.rotation or self.affine.scale or self.affine.shear
        if self.rows == "tokens" and self.kind == "modalities" and moved:
            raise ValueError(
                "rows=tokens compares places, which two contrasts under affines of their own do "
                "not share: set affine.rotation, scale and shear to 0, or kind=same_scan"
            )
        return self


class ProjectedViewSettings(ViewSettings):
    """Two views whose features are compared behind a projector of three layers."""

    rows: Literal["scans", "tokens"] = Field(
        default="tokens", description=ViewSettings.model_fields["rows"].description
    )
    hidden: Width = Field(
        default=512, ge=1, description="width of the projector's two hidden layers; published: 8192"
    )
    outputs: Width = Field(default=128, ge=2, description="width of the embedding; published: 8192")
