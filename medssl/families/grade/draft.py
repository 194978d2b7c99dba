"""A first pipeline that grades, for `medssl init`."""

from collections.abc import Sequence
from typing import Any

from medssl.data.check import labelled
from medssl.data.spec import Case, DataSpec
from medssl.pipeline.drafts import FOLDS, Keys


def draft(spec: DataSpec, cases: Sequence[Case]) -> Keys:
    """Keys with their reasons."""
    parts = {case.part for case in cases if labelled(case)}
    split: dict[str, Any] = {"labels": None}
    if "validation" in parts:
        split["validation"] = None
    graded = sum(map(labelled, cases))
    folds = Keys()
    teaches = "All grades teach; `labels: 10` takes ten of each."
    if "test" not in parts:
        split = {"validation": 0, **split, "test": 0, "folds": FOLDS}
        teaches += (
            f"\n{FOLDS} further trainings, each without some of the grades, which score it; "
            "`folds: 0, test: 0.2`\nkeeps a fifth of the patients for that instead."
        )
        if split["validation"] == 0:
            folds = [("predict", {"checkpoint": "last"}, "No image is kept back to choose by.")]
    method = "semixup" if graded < len(cases) else "supervised_mixup"
    two = len((spec.layout.model_extra or {}).get("classes", ())) == 2
    disease = [("evaluate", {"disease_from": 1}, "The second class is the disease.")]
    return [
        *(disease if two else []),
        ("split", split, teaches),
        ("preprocess", {"radiograph": {"field": None}}, "The whole image; `joint` is for knees."),
        ("method", method, f"{graded} of {len(cases)} images have a grade."),
        *folds,
    ]
