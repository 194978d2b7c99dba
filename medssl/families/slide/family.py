"""Slides: from whole slides, or bags of features, to calls and heat maps."""

from medssl.families.slide.config import SlideConfig
from medssl.pipeline.family import Family, InitialEncoder

_HERE = "medssl.families.slide"

FAMILY = Family(
    name="slide",
    configs=(SlideConfig,),
    usual_arms=("abmil", "snuffy"),
    cohort=f"{_HERE}.cohort:find_cohort",
    inputs=f"{_HERE}.cohort:inputs",
    steps={
        "train": f"{_HERE}.train:train",
        "predict": f"{_HERE}.predict:predict",
        "evaluate": f"{_HERE}.evaluate:evaluate",
    },
    results=f"{_HERE}.cohort:results",
    comparison=f"{_HERE}.comparison:SlideComparison",
    prepare=f"{_HERE}.bags:find_bags",
    initial_encoder=InitialEncoder(
        part="encoder",
        read="medssl.train.tile_checkpoint:read_tile_encoder",
        must_fit=f"{_HERE}.cohort:must_fit",
    ),
    predict_files=f"{_HERE}.predict:predict_in_words",
    writes="calls.csv, and SLIDE.png and SLIDE.geojson of each slide",
    evaluate_files=f"{_HERE}.evaluate:evaluate_calls",
    axes=("data",),
)
