"""How radiographs are cut, changed and shared out; free of torch.

Defaults are those of Semixup (its sheet, sections 5 and 8) at the size of the whole crop.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from medssl.section import Section


class RadiographAugment(Section):
    """The random transform T, drawn for every crop of an image by itself."""

    noise: float = Field(default=0.3, ge=0, le=1, description="largest share of noise in the mix")
    noise_chance: float = Field(default=0.5, ge=0, le=1, description="probability of noise")
    rotation: float = Field(default=10.0, ge=0, le=45, description="degrees, +/- this")
    pad: float = Field(default=1.05, ge=1, description="least canvas before the crop, per side")
    gamma: tuple[float, float] = Field(default=(0.5, 1.5), description="out = in^(1 / gamma)")
    gamma_chance: float = Field(default=0.5, ge=0, le=1, description="probability of a gamma")

    @model_validator(mode="after")
    def _gamma_is_positive(self) -> Self:
        if not 0 < self.gamma[0] <= self.gamma[1]:
            raise ValueError("gamma goes from a positive number to one at least as large")
        return self


class StrongAugment(Section):
    """What a strong view changes beyond T; the amounts of MutexMatch (its sheet, section 4)."""

    rotation: float = Field(default=15.0, ge=0, le=45, description="degrees, +/- this")
    contrast: tuple[float, float] = Field(
        default=(0.05, 0.95), description="1 keeps the crop, 0 leaves its mean"
    )
    sharpness: tuple[float, float] = Field(
        default=(0.05, 0.95), description="1 keeps the crop, 0 leaves it smoothed"
    )
    chance: float = Field(default=0.5, ge=0, le=1, description="of contrast and of sharpness")
    cutout: float = Field(
        default=0.25, ge=0, le=1, description="largest side of a grey square, share of the crop's"
    )


class CropSettings(Section):
    """Which parts of a radiograph the network sees, as square crops; the paper's joint crops.

    Rows and columns are counted on a square in the middle of the image, as if it had `grid` pixels
    a side; what lies beyond the image is black.
    """

    mode: Literal["joint", "whole"] = Field(
        default="joint",
        description="joint: the outer edges of both compartments; whole: the square itself",
    )
    field: float | None = Field(
        default=110.0,
        gt=0,
        description="mm, side of the square; null: the least square that holds the image",
    )
    grid: int = Field(default=300, ge=2, description="joint: pixels that rows and columns count in")
    rows: tuple[int, int] = Field(default=(100, 228), description="joint: first, and first after")
    columns: int = Field(
        default=128, ge=1, description="joint: of the lateral crop from the left edge, of the "
        "medial one from the right edge; the medial one is mirrored"
    )  # fmt: skip
    side: int = Field(default=128, ge=8, description="pixels of a crop's side")
    percentiles: tuple[float, float] = Field(
        default=(5.0, 99.0), description="of the whole image; they become 0 and 255"
    )
    mirror: Literal["left", "right", "none"] | None = Field(
        default=None,
        description="images of this side are mirrored first, so that lateral lies left in all; "
        "null: left for joint, none for whole",
    )

    @model_validator(mode="after")
    def _lies_inside(self) -> Self:
        for key in ("grid", "rows", "columns"):
            default = type(self).model_fields[key].default
            if self.mode == "whole" and getattr(self, key) != default:
                raise ValueError(f"{key} is of the joint crops; leave it out with mode=whole")
        if not 0 <= self.rows[0] < self.rows[1] <= self.grid or self.columns > self.grid:
            raise ValueError(f"rows and columns lie outside a grid of {self.grid} pixels")
        if not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise ValueError("percentiles rise, between 0 and 100")
        return self

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the crops, in order."""
        return ("lateral", "medial") if self.mode == "joint" else ("whole",)

    @property
    def mirrored(self) -> Literal["L", "R"] | None:
        """The side whose images are mirrored; None: none is."""
        chosen = self.mirror or ("left" if self.mode == "joint" else "none")
        sides: dict[str, Literal["L", "R"]] = {"left": "L", "right": "R"}
        return sides.get(chosen)


class GradeSplitSettings(Section):
    """Who trains, validates and tests; patients are never divided between the three."""

    labels: int | None = Field(
        default=10, ge=1, description="labelled training images of each grade; null: all"
    )
    lists: bool = Field(
        default=True, description="the data set's own fixed label lists, where it has some"
    )
    validation: float | None = Field(
        default=0.25,
        ge=0,
        description="images of each grade as a share of `labels`, at least one; null: all of the "
        "data set's own validation part",
    )
    test: float = Field(
        default=0.2,
        ge=0,
        le=0.5,
        description="share of the graded patients, where the data set declares no test part",
    )
    test_seed: int = Field(default=0, ge=0, description="of that draw; apart from `seed`")
    pool: Literal["all", "ungraded"] = Field(
        default="all",
        description="unlabelled images; all: also training images whose grade is not drawn",
    )
    unlabelled: int | None = Field(default=None, ge=0, description="at most so many; null: all")
