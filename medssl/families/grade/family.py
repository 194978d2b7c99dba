"""Grading: from radiographs to grades with calibrated probabilities."""

from medssl.families.grade.config import GradeConfig
from medssl.pipeline.family import Family, InitialEncoder, in_package

_HERE = "medssl.families.grade"

FAMILY = Family(
    name="grade",
    configs=(GradeConfig,),
    usual_arms=("supervised_mixup", "semixup"),
    **in_package(_HERE, "train", "predict", "evaluate"),
    comparison=f"{_HERE}.comparison:GradeComparison",
    draft=f"{_HERE}.draft:draft",
    prepare=f"{_HERE}.cohort:prepare_crops",
    initial_encoder=InitialEncoder("network", "medssl.train.tile_checkpoint:read_image_encoder"),
    predict_files=f"{_HERE}.predict:predict_in_words",
    neutral=True,
    writes="grades.csv",
    evaluate_files=f"{_HERE}.evaluate:evaluate_grades",
    axes=("labels",),
    tested="images",
    shares_files=True,
    together=("train", "predict"),
)
