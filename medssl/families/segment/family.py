"""Segmentation: from volumes to masks on their own grids."""

from medssl.families.segment.config import SegmentConfig
from medssl.pipeline.family import Family, InitialEncoder, in_package

_HERE = "medssl.families.segment"

FAMILY = Family(
    name="segment",
    configs=(SegmentConfig,),
    usual_arms=("supervised", "tracoco"),
    **in_package(_HERE, "train", "predict", "evaluate", "unlabelled"),
    aside={"unlabelled": "train"},
    comparison=f"{_HERE}.comparison:SegmentComparison",
    intact={"predict": f"{_HERE}.predict:intact", "unlabelled": f"{_HERE}.unlabelled:intact"},
    draft=f"{_HERE}.draft:draft",
    plan=f"{_HERE}.planning:plan",
    foretell=f"{_HERE}.foretell:in_words",
    preflight=f"{_HERE}.cohort:check_test_cases",
    initial_encoder=InitialEncoder("network", "medssl.train.tile_checkpoint:read_image_encoder"),
    found=f"{_HERE}.unlabelled:found",
    predict_files=f"{_HERE}.predict:predict_in_words",
    neutral=True,
    open_model=f"{_HERE}.model:open_model",
    measures=True,
    shares_files=True,
    lists=True,
    together=("train", "predict", "evaluate", "unlabelled"),
    evaluate_files=f"{_HERE}.evaluate:evaluate_folder",
    axes=("labels",),
    tested="cases",
    unscored=True,
)
