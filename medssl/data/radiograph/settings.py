"""How radiographs are changed strongly and shared out; free of torch."""

from typing import Literal

from pydantic import Field

from medssl.data.split_settings import FinalModel, FoldCount
from medssl.section import Items, Section, Seed, Shares


class StrongAugment(Section):
    """What a strong view changes beyond T; the amounts of MutexMatch (its sheet, section 4)."""

    rotation: float = Field(default=15.0, ge=0, le=45, description="degrees, +/- this")
    contrast: Shares = Field(
        default=(0.05, 0.95), description="1 keeps the crop, 0 leaves its mean"
    )
    sharpness: Shares = Field(
        default=(0.05, 0.95), description="1 keeps the crop, 0 leaves it smoothed"
    )
    chance: float = Field(default=0.5, ge=0, le=1, description="of contrast and of sharpness")
    cutout: float = Field(
        default=0.25, ge=0, le=1, description="largest side of a grey square, share of the crop's"
    )


class GradeSplitSettings(Section):
    """Who trains, validates and tests; patients are never divided between the three."""

    labels: Items | None = Field(
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
    folds: FoldCount = Field(
        default=0,
        description="of a cross-validation over the labelled images, which the model is then "
        "trained on; patients stay whole, grades are spread over the folds, and each patient is "
        "left out once where they are fewer; 0: none",
    )
    final: FinalModel = "refit"
    test: float = Field(
        default=0.2,
        ge=0,
        le=0.5,
        description="share of the graded patients, where the data set declares no test part; with "
        "0 the images that folds leave out are scored",
    )
    test_seed: Seed = Field(default=0, ge=0, description="of that draw; apart from `seed`")
    pool: Literal["all", "ungraded"] = Field(
        default="all",
        description="unlabelled images; all: also training images whose grade is not drawn",
    )
    unlabelled: Items | None = Field(default=None, ge=0, description="at most so many; null: all")
