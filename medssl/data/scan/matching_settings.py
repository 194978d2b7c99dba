"""How points of one volume are found in another, and pairs of windows by them; free of torch."""

from typing import Literal

from pydantic import Field

from medssl.section import Extent, Items, Section


class MatchingSettings(Section):
    """How the most similar place is sought, and which matches count (sheet of Alice, 8.2)."""

    coarse_cells: Items = Field(
        default=27, ge=1, description="coarse cells whose fine cells are compared, per point"
    )
    exhaustive: Items = Field(
        default=50_000,
        ge=0,
        description="volumes of at most so many fine cells are compared whole, which is faster",
    )
    cycle: float = Field(
        default=3.0,
        ge=0,
        description="fine cells by which the match of a match may miss where it began; the score "
        "itself tells little of the error",
    )
    similarity: float = Field(
        default=-1.0,
        ge=-1,
        le=1,
        description="matches less similar are not believed; 0.7 is published, for those weights",
    )
    quantile: float = Field(
        default=0.0, ge=0, lt=1, description="share of the least similar matches not believed"
    )


class MatchedViews(Section):
    """The two windows of an item and how the second is found."""

    partner: Literal["matched", "bounding_box", "random", "same_volume"] = Field(
        default="matched",
        description="matched: the same place of another patient; bounding_box: the same relative "
        "position in its body; random: anywhere in it; same_volume: near the place itself",
    )
    candidates: Items = Field(
        default=32, ge=1, description="places tried at once; the first believed match is taken"
    )
    margin: Extent = Field(
        default=10, ge=0, description="voxels to the border of a place, at most a quarter of a side"
    )
    shift: Extent = Field(
        default=8, ge=0, description="voxels, +/- this along each axis, for same_volume"
    )
    rotation: float = Field(
        default=0.0, ge=0, le=90, description="degrees about each axis, +/- this"
    )
    scale: float = Field(default=0.0, ge=0, lt=1, description="factor in 1 +/- this")
    overlap: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        exclude_if=lambda given: given == 0,
        description="alice: windows that the embedding finds as alike as two of one scan that "
        "share so much are no negatives of each other, e.g. 0.25; 0, as published: all others are",
    )
    matching: MatchingSettings = MatchingSettings()
