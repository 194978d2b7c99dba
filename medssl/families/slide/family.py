"""Slides: from whole slides, or bags of features, to calls and heat maps."""

from medssl.families.slide.config import SlideConfig
from medssl.pipeline.family import (
    Beforehand,
    Family,
    InitialEncoder,
    LooseFiles,
    Scoring,
    Step,
)

_HERE = "medssl.families.slide"

FAMILY = Family(
    name="slide",
    configs=(SlideConfig,),
    cohort=f"{_HERE}.cohort:find_cohort",
    inputs=f"{_HERE}.cohort:inputs",
    steps={
        "train": Step(f"{_HERE}.train:train", together=True, folds="calls.json"),
        "predict": Step(f"{_HERE}.predict:predict", together=True),
        "evaluate": Step(f"{_HERE}.evaluate:evaluate"),
    },
    results=f"{_HERE}.cohort:results",
    scoring=Scoring(
        f"{_HERE}.comparison:SlideComparison", usual_arms=("abmil", "snuffy"), axes=("data",)
    ),
    draft=f"{_HERE}.draft:draft",
    before=Beforehand(foretell=f"{_HERE}.foretell:in_words"),
    found=f"{_HERE}.found:found",
    prepare=f"{_HERE}.cohort:find_bags",
    prepares_together=True,
    initial_encoder=InitialEncoder("encoder", "medssl.train.tile_checkpoint:read_tile_encoder"),
    files=LooseFiles(
        predict=f"{_HERE}.predict:predict_in_words",
        shared=True,
        writes="calls.csv, and SLIDE.png and SLIDE.geojson of each slide",
        evaluate=f"{_HERE}.evaluate:evaluate_calls",
    ),
)
