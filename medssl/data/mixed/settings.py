"""How images and slices of volumes are read and changed; free of torch.

Defaults are those of joint 2D-3D pre-training (its sheet, sections 3, 4 and 12).
"""

from typing import Literal

from pydantic import Field

from medssl.section import Amounts, Batch, Count, Extent, Parts, Section


class SliceAugment(Section):
    """The random view of an image or a volume, whose slices change alike, except for the noise."""

    rotation: float = Field(default=17.0, ge=0, le=180, description="degrees, +/- this")
    scale: float = Field(default=0.05, ge=0, lt=1, description="factor in 1 +/- this, per axis")
    shift: float = Field(default=0.1, ge=0, le=1, description="half sides, +/- this; not of crops")
    flip: float = Field(default=0.5, ge=0, le=1, description="chance of left and right")
    flip_through: float = Field(
        default=0.0, ge=0, le=1, description="chance that a volume's slices come in reverse; the "
        "release has 0.5 in its flips, which teaches volumes to ignore direction"
    )  # fmt: skip
    gain: float = Field(default=0.2, ge=0, lt=1, description="factor in 1 +/- this")
    offset: float = Field(default=0.2, ge=0, description="added, +/- this")
    blur: float = Field(default=0.5, ge=0, le=1, description="chance")
    sigma: Amounts = Field(default=(0.1, 2.0), description="of the blur, pixels")
    noise: float = Field(default=0.1, ge=0, description="standard deviation of Gaussian noise")


class LocalCrops(Section):
    """Small crops, which predict the clusters of the two large ones."""

    count: Count = Field(default=0, ge=0, description="released SwAV: 6")
    side: Extent = Field(default=96, ge=1, description="pixels")
    area: Parts = Field(default=(0.05, 0.14), description="share of the image")


class CropSettings(Section):
    """Crops of native images and loose slices; volumes keep their field of view."""

    area: Parts = Field(
        default=(0.14, 1.0), description="of the two large ones, share of the image"
    )
    local: LocalCrops = LocalCrops()


class MixedSampling(Section):
    """What a batch of images and volumes holds."""

    images: Batch = Field(default=128, ge=0, description="native images and loose slices per step")
    volumes: Batch = Field(default=8, ge=0, description="volumes per step")
    volumes_of: Literal["all", "one"] = Field(
        default="all",
        exclude_if=lambda given: given == "all",
        description="the volumes of a step are of all data sets, or of one alone, which is drawn "
        "anew for each step: batches of one organ",
    )
    slices: Batch = Field(
        default=32,
        ge=1,
        description="N: of a longer volume a random window, a shorter one is filled up; released: "
        "64",
    )
    side: Extent = Field(
        default=160, ge=8, description="pixels of images and slices; released: 128"
    )
    loose: tuple[str, ...] = Field(
        default=(), description="data sets of volumes whose single slices serve as images too"
    )
    temperature: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="a data set of n items is drawn from with chance ~ n^this; 1: every item alike",
    )
