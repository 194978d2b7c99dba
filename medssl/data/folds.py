"""Cross-validation of cases with one class each: stratified folds, whole patients, seeded."""

from collections.abc import Sequence

import numpy as np

from medssl.data.spec import Case
from medssl.data.split import Split, verify
from medssl.errors import UsageError


def make_folds(
    cases: Sequence[Case], classes: Sequence[str], folds: int, validation: float, seed: int
) -> list[Split]:
    """One split per fold; every labelled case is tested exactly once over all folds.

    Where the data set declares test cases there is one split, with those as test. With `folds` 0
    nothing is held out for a test. Each fold keeps `validation` of its remaining patients for
    validation. Cases without a class are `unlabelled` in every split.

    Args:
        cases: `extra["class"]` is the index of the class, or None.
        seed: draws test folds and validation cases.

    Raises:
        UsageError: a class has fewer patients than there are folds.
    """
    labelled = [case for case in cases if case.extra.get("class") is not None]
    unlabelled = tuple(case.id for case in cases if case.extra.get("class") is None)
    declared = [case for case in labelled if case.part == "test"]
    if declared:
        tests = [declared]
    elif folds == 0:
        tests = [[]]
    else:
        _must_suffice(labelled, classes, folds, f"split.folds={folds}")
        tests = stratified_parts(labelled, folds, seed)
    found = []
    for test in tests:
        held = {case.id for case in test}
        rest = [case for case in labelled if case.id not in held and case.part != "test"]
        chosen = _validation(rest, classes, validation, seed)
        train = tuple(case.id for case in rest if case.id not in chosen)
        kept = tuple(case.id for case in rest if case.id in chosen)
        split = Split(train, unlabelled, kept, tuple(case.id for case in test), seed)
        verify(split, cases)
        found.append(split)
    return found


def _validation(cases: Sequence[Case], classes: Sequence[str], share: float, seed: int) -> set[str]:
    if share == 0:
        return set()
    parts = max(2, round(1 / share))
    _must_suffice(cases, classes, parts, f"split.validation={share}")
    return {case.id for case in stratified_parts(cases, parts, seed)[0]}


def stratified_parts(cases: Sequence[Case], count: int, seed: int) -> list[list[Case]]:
    """`count` parts of about equal size and class frequencies; no patient is in two of them.

    Args:
        cases: each with the index of its class in `extra["class"]`.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    labels = np.array([case.extra["class"] for case in cases])
    patients = np.array([case.patient for case in cases])
    drawn = splitter.split(np.zeros(len(cases)), labels, patients)
    return [[cases[index] for index in part] for _, part in drawn]


def _must_suffice(cases: Sequence[Case], classes: Sequence[str], parts: int, asked: str) -> None:
    for index, name in enumerate(classes):
        patients = {case.patient for case in cases if case.extra["class"] == index}
        if len(patients) < parts:
            raise UsageError(
                f"{asked} needs {parts} patients of every class to train and test with",
                f"the class '{name}' has {len(patients)}",
                "lower split.folds, raise split.validation or set it to 0, or add cases",
            )
