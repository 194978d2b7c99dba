"""Grading: from radiographs to grades with calibrated probabilities."""

from medssl.families.grade.config import GradeConfig
from medssl.pipeline.family import (
    Beforehand,
    Family,
    InitialEncoder,
    LooseFiles,
    Scoring,
    Step,
)

_HERE = "medssl.families.grade"

FAMILY = Family(
    name="grade",
    configs=(GradeConfig,),
    cohort=f"{_HERE}.cohort:find_cohort",
    inputs=f"{_HERE}.cohort:inputs",
    steps={
        "train": Step(f"{_HERE}.train:train", together=True, folds="held_out.json"),
        "predict": Step(f"{_HERE}.predict:predict", together=True),
        "evaluate": Step(f"{_HERE}.evaluate:evaluate"),
    },
    results=f"{_HERE}.cohort:results",
    scoring=Scoring(
        f"{_HERE}.comparison:GradeComparison",
        usual_arms=("supervised_mixup", "semixup"),
        tested="images",
        axes=("labels",),
    ),
    draft=f"{_HERE}.draft:draft",
    before=Beforehand(foretell=f"{_HERE}.foretell:in_words"),
    found=f"{_HERE}.found:found",
    prepare=f"{_HERE}.cohort:prepare_crops",
    initial_encoder=InitialEncoder("network", "medssl.train.tile_checkpoint:read_image_encoder"),
    files=LooseFiles(
        predict=f"{_HERE}.predict:predict_in_words",
        shared=True,
        writes="grades.csv",
        neutral=True,
        evaluate=f"{_HERE}.evaluate:evaluate_grades",
    ),
)
