"""Grading: from radiographs to grades with calibrated probabilities."""

from medssl.families.grade.config import GradeConfig
from medssl.pipeline.family import Family, InitialEncoder

_HERE = "medssl.families.grade"

FAMILY = Family(
    name="grade",
    configs=(GradeConfig,),
    usual_arms=("supervised_mixup", "semixup"),
    cohort=f"{_HERE}.cohort:find_cohort",
    inputs=f"{_HERE}.cohort:inputs",
    steps={
        "train": f"{_HERE}.train:train",
        "predict": f"{_HERE}.predict:predict",
        "evaluate": f"{_HERE}.evaluate:evaluate",
    },
    results=f"{_HERE}.cohort:results",
    comparison=f"{_HERE}.comparison:GradeComparison",
    prepare=f"{_HERE}.crops:prepare_crops",
    initial_encoder=InitialEncoder(
        part="network",
        read="medssl.train.encoder_checkpoint:read_encoder",
        must_fit=f"{_HERE}.initial_encoder:must_fit",
    ),
    predict_files=f"{_HERE}.predict:predict_in_words",
    writes="grades.csv",
    evaluate_files=f"{_HERE}.evaluate:evaluate_grades",
    axes=("labels",),
    tested="images",
)
