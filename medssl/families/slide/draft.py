"""A first pipeline of slides, for `medssl init`."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from medssl.data.check import labelled
from medssl.data.spec import Case, DataSpec
from medssl.pipeline.drafts import FOLDS, Keys


def draft(spec: DataSpec, cases: Sequence[Case]) -> Keys:
    """Keys with their reasons."""
    split = _folds(cases)
    if split["folds"]:
        why = "Each slide is called by a model that has not seen it."
    else:
        why = "Each class needs slides of two patients for a cross-validation; nothing is scored."
    return [
        ("extends", "slides", "Every key that is not here is that of this pipeline."),
        ("split", split, why),
    ]


def _folds(cases: Sequence[Case]) -> dict[str, Any]:
    """As many folds as the smallest class allows, with a validation part where there is room."""
    patients = {(case.extra.get("class"), case.patient) for case in cases if labelled(case)}
    least = min(Counter(label for label, _ in patients).values(), default=0)
    folds = min(FOLDS, least)
    enough = folds >= 2 and least >= 2 * folds
    return {"folds": folds if folds >= 2 else 0, "validation": 0.2 if enough else 0}
