"""Slides: from whole slides, or bags of features, to calls and heat maps."""

from medssl.families.slide.config import SlideConfig
from medssl.pipeline.family import Family, InitialEncoder, in_package

_HERE = "medssl.families.slide"

FAMILY = Family(
    name="slide",
    configs=(SlideConfig,),
    usual_arms=("abmil", "snuffy"),
    **in_package(_HERE, "train", "predict", "evaluate"),
    comparison=f"{_HERE}.comparison:SlideComparison",
    draft=f"{_HERE}.draft:draft",
    prepare=f"{_HERE}.cohort:find_bags",
    initial_encoder=InitialEncoder("encoder", "medssl.train.tile_checkpoint:read_tile_encoder"),
    predict_files=f"{_HERE}.predict:predict_in_words",
    writes="calls.csv, and SLIDE.png and SLIDE.geojson of each slide",
    evaluate_files=f"{_HERE}.evaluate:evaluate_calls",
    axes=("data",),
    shares_files=True,
    together=("prepare", "train", "predict"),
)
