"""Segmentation: from volumes to masks on their own grids."""

from medssl.families.segment.config import SegmentConfig
from medssl.pipeline.family import (
    Beforehand,
    Family,
    InitialEncoder,
    LooseFiles,
    Scoring,
    Step,
)

_HERE = "medssl.families.segment"

FAMILY = Family(
    name="segment",
    configs=(SegmentConfig,),
    cohort=f"{_HERE}.cohort:find_cohort",
    inputs=f"{_HERE}.cohort:inputs",
    steps={
        "train": Step(f"{_HERE}.train:train", together=True, folds="held_out.json"),
        "predict": Step(
            f"{_HERE}.predict:predict", intact=f"{_HERE}.predict:intact", together=True
        ),
        "evaluate": Step(f"{_HERE}.evaluate:evaluate", together=True),
        "unlabelled": Step(
            f"{_HERE}.unlabelled:unlabelled",
            intact=f"{_HERE}.unlabelled:intact",
            aside="train",
            together=True,
        ),
    },
    results=f"{_HERE}.cohort:results",
    scoring=Scoring(
        f"{_HERE}.comparison:SegmentComparison",
        usual_arms=("supervised", "tracoco"),
        tested="cases",
        unscored=True,
        axes=("labels",),
    ),
    draft=f"{_HERE}.draft:draft",
    before=Beforehand(
        plan=f"{_HERE}.planning:plan",
        foretell=f"{_HERE}.foretell:in_words",
        refuse=f"{_HERE}.cohort:check_test_cases",
    ),
    found=f"{_HERE}.unlabelled:found",
    initial_encoder=InitialEncoder("network", "medssl.train.tile_checkpoint:read_image_encoder"),
    files=LooseFiles(
        predict=f"{_HERE}.predict:predict_in_words",
        measures=True,
        shared=True,
        lists=True,
        neutral=True,
        evaluate=f"{_HERE}.evaluate:evaluate_folder",
        open=f"{_HERE}.model:open_model",
    ),
)
