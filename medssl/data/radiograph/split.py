"""Who trains, validates and tests on radiographs: so many images of each grade, by patient.

With one seed, the labelled images of a smaller number per grade are among those of a larger one, as
long as patients do not run short. The test images depend on neither.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from medssl.data.folds import stratified_parts
from medssl.data.radiograph.settings import GradeSplitSettings
from medssl.data.spec import Case
from medssl.data.split import Split, verify
from medssl.errors import DataError, UsageError


def make_grade_split(
    cases: Sequence[Case],
    classes: Sequence[str],
    settings: GradeSplitSettings,
    seed: int,
    listed: Sequence[str] | None = None,
) -> Split:
    """The split that `settings` asks for; labelled and unlabelled images may share patients.

    Test images are the graded ones of the data set's test part, else of a share of the patients.
    Validation images are of its validation part, else of patients from the end of the shuffled
    list, whose beginning gives the labelled ones.

    Args:
        cases: of the layout `radiographs`.
        classes: names of the grades.
        seed: shuffles patients.
        listed: files of the labelled images, where the data set itself says them.

    Raises:
        UsageError: a grade has too few images, or there is no validation part that is asked for.
        DataError: the data set declares one patient for two parts, or the list does not fit it.
    """
    _refuse_divided(cases)
    order = _shuffled(cases, seed)
    test = _test(cases, settings)
    declared = [case for case in order if case.part == "validation"]
    held = _patients(test)
    rest = [case for case in order if case.part == "train" and case.patient not in held]
    validation = _validation(declared, rest, classes, settings)
    held = _patients(validation)
    train = [case for case in rest if case.patient not in held]
    labelled = _listed(train, listed) if listed else _drawn(train, classes, settings.labels)
    chosen = {case.id for case in labelled}
    unlabelled = [
        case.id
        for case in train
        if case.id not in chosen and (settings.pool == "all" or case.extra["class"] is None)
    ]
    split = Split(
        tuple(case.id for case in labelled),
        tuple(unlabelled[: settings.unlabelled]),
        tuple(case.id for case in validation),
        tuple(case.id for case in test),
        seed,
    )
    verify(split, cases, together=("labelled", "unlabelled"))
    return split


def _refuse_divided(cases: Sequence[Case]) -> None:
    first: dict[str, Case] = {}
    for case in cases:
        other = first.setdefault(case.patient, case)
        if other.part != case.part:
            raise DataError(
                f"the data set declares the patient of image {case.id} for {other.part} and for "
                f"{case.part}",
                "scores would be too good",
                "give all images of a patient one part",
            )


def _shuffled(cases: Sequence[Case], seed: int) -> list[Case]:
    """All cases, patients in random order, those of one patient together."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.patient, []).append(case)
    lists = list(groups.values())
    order = np.random.default_rng(seed).permutation(len(lists))
    return [case for index in order for case in lists[index]]


def _patients(cases: Iterable[Case]) -> set[str]:
    return {case.patient for case in cases}


def _test(cases: Sequence[Case], settings: GradeSplitSettings) -> list[Case]:
    if any(case.part == "test" for case in cases):
        return [c for c in cases if c.part == "test" and c.extra["class"] is not None]
    graded = [c for c in cases if c.part == "train" and c.extra["class"] is not None]
    if settings.test == 0 or not graded:
        return []
    count = round(1 / settings.test)
    if len(_patients(graded)) < count:
        raise UsageError(
            f"split.test={settings.test} needs at least {count} patients with a grade",
            f"the data set has {len(_patients(graded))}",
            "raise split.test, or declare the test images in the table's split column",
        )
    return stratified_parts(graded, count, settings.test_seed)[0]


def _validation(
    declared: Sequence[Case],
    rest: Sequence[Case],
    classes: Sequence[str],
    settings: GradeSplitSettings,
) -> list[Case]:
    share = settings.validation
    graded = [case for case in declared if case.extra["class"] is not None]
    if share is None:
        if not graded:
            raise UsageError(
                "split.validation=null asks for the data set's own validation part",
                "it declares none",
                "set split.validation=0.25, or declare it in the table's split column",
            )
        return graded
    if share == 0:
        return []
    found: list[Case] = []
    pool = graded or rest[::-1]
    for index, _ in enumerate(classes):
        own = [case for case in pool if case.extra["class"] == index]
        count = len(own) if settings.labels is None else settings.labels
        found += own[: max(1, int(share * count))]
    return found


def _drawn(train: Sequence[Case], classes: Sequence[str], labels: int | None) -> list[Case]:
    """The first images of each grade."""
    found = []
    for index, name in enumerate(classes):
        own = [case for case in train if case.extra["class"] == index]
        if not own or (labels is not None and len(own) < labels):
            raise UsageError(
                f"no training image has the grade {name}"
                if labels is None
                else f"split.labels={labels} is more than the {len(own)} training images of {name}",
                "images for validation and test are not counted",
                "lower split.labels, or add images",
            )
        found += own[:labels]
    return found


def _listed(train: Sequence[Case], listed: Sequence[str]) -> list[Case]:
    by_file = {case.extra["file"]: case for case in train if case.extra["class"] is not None}
    unknown = [file for file in listed if file not in by_file]
    if unknown:
        raise DataError(
            f"the label list names {unknown[0]}, which is no graded training image",
            "lists and table do not belong together",
            "correct the list, or set split.lists=false to draw labels",
        )
    return [by_file[file] for file in listed]
