"""Settings of `masked_image_modelling`."""

from math import prod
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from medssl.data.scan.settings import AffineSettings, IntensitySettings
from medssl.errors import UsageError
from medssl.methods.settings import PretrainMethodSettings
from medssl.section import Extent, Section, Width, in_plane


class Masking(Section):
    """Which cubes of a scan are hidden."""

    cell: Extent = Field(
        default=16, ge=1, description="side of a cube in voxels; nnssl 16, UMBRA 32 in 96"
    )
    ratio: tuple[float, float] = Field(
        default=(0.5, 0.75), description="share of hidden cubes, drawn for each scan"
    )

    @model_validator(mode="after")
    def _is_share(self) -> Self:
        low, high = self.ratio
        if not 0 < low <= high < 1:
            raise ValueError("ratio goes from a share above 0 to one below 1")
        return self

    def must_fit(self, window: tuple[int, int, int], embedded: int) -> None:
        """Refuse cubes that do not suit the window or the encoder.

        Args:
            window: sides in voxels; with a third of 1, squares are hidden.
            embedded: side in voxels of the cells that the encoder embeds.

        Raises:
            UsageError: cubes do not divide the window, or the encoder's cells do not divide the
                cubes; the message names sides that fit.
        """
        sides = in_plane(window)
        fitting = [
            cell
            for cell in range(embedded, min(sides) + 1, embedded)
            if not any(side % cell for side in sides) and prod(sides) > cell ** len(sides)
        ]
        if self.cell not in fitting:
            raise UsageError(
                f"method.masking.cell={self.cell} does not fit train.patch={list(window)}",
                f"two or more cubes must fill it, and cells of {embedded} voxels must divide them",
                f"choose one of {', '.join(map(str, fitting))}"
                if fitting
                else "give a larger train.patch",
            )


class Settings(PretrainMethodSettings):
    """Masked image modelling: fill in what is hidden (SimMIM's form: dense, mask tokens)."""

    implementation: ClassVar[str] = (
        "medssl.methods.pretrain.masked_image_modelling:MaskedImageModelling"
    )
    paper: ClassVar[str] = "SimMIM: Xie et al., CVPR 2022; in 3-D as Koutsouvelis et al., 2025"
    in_2d: ClassVar[bool] = True
    summary: ClassVar[str] = "an encoder learns to fill in hidden cubes of scans"
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {"masking": {"cell": 32}}}

    masking: Masking = Masking()
    decoder_width: Width = Field(default=32, ge=1, description="channels of the light FPN decoder")
    affine: AffineSettings = AffineSettings()
    intensity: IntensitySettings = IntensitySettings()

    def must_fit(self, config: Any) -> None:
        """Refuse cubes that do not suit the window, and a window that single scans are too few for.

        Raises:
            UsageError: names what fits.
        """
        train, network = config.pipeline.train, config.pipeline.network
        self.masking.must_fit(train.patch, network.cell)
        network.must_take(train.patch, train.batch_scans)
