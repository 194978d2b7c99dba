"""Who trains, validates and tests on radiographs."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from medssl.data.radiograph.settings import GradeSplitSettings
from medssl.data.radiograph.split import make_grade_split
from medssl.data.spec import Case
from medssl.data.split import Split, verify
from medssl.errors import DataError, UsageError

GRADES = ("none", "mild", "severe")


def image(number: int, grade: int | None, part: str = "train", patient: str = "") -> Case:
    name = f"i{number}"
    extra = {"class": grade, "side": None, "spacing": None, "file": f"{name}.png"}
    return Case(name, patient or name, {"radiograph": Path(f"{name}.png")}, None, "", part, extra)


def knees(patients: int = 60) -> list[Case]:
    """Two images of each patient, of grades that may differ; the last ten patients have none."""
    found = []
    for patient in range(patients):
        for side in range(2):
            grade = None if patient >= patients - 10 else (patient + side * (patient % 2)) % 3
            found.append(image(2 * patient + side, grade, patient=f"p{patient}"))
    return found


def split(cases: list[Case], seed: int = 0, listed: Any = None, **settings: Any) -> Split:
    return make_grade_split(cases, GRADES, GradeSplitSettings(**settings), seed, listed)


def grades(found: tuple[str, ...], cases: list[Case]) -> Counter[int | None]:
    by_id = {case.id: case.extra["class"] for case in cases}
    return Counter(by_id[name] for name in found)


def test_there_are_so_many_of_each_grade_and_patients_are_not_divided() -> None:
    cases = knees()
    found = split(cases, labels=8)
    assert grades(found.labelled, cases) == {0: 8, 1: 8, 2: 8}
    assert grades(found.validation, cases) == {0: 2, 1: 2, 2: 2}
    verify(found, cases, together=("labelled", "unlabelled"))
    share = len(found.test) / sum(case.extra["class"] is not None for case in cases)
    assert 0.15 < share < 0.25
    assert None in grades(found.unlabelled, cases)


def test_smaller_numbers_are_nested_and_test_images_depend_on_neither() -> None:
    cases = knees()
    few, many, other = split(cases, labels=2), split(cases, labels=5), split(cases, 1, labels=5)
    assert set(few.labelled) < set(many.labelled)
    assert few.test == many.test == other.test
    assert set(other.labelled) != set(many.labelled)
    assert split(cases, labels=2, test_seed=1).test != few.test


def test_null_takes_all_labels() -> None:
    cases = knees()
    found = split(cases, labels=None, validation=0)
    assert not found.validation
    used = {*found.labelled, *found.test}
    assert used == {case.id for case in cases if case.extra["class"] is not None}
    assert grades(found.unlabelled, cases).keys() == {None}


def test_the_unlabelled_may_be_all_the_rest_or_those_without_a_grade() -> None:
    cases = knees()
    everything = split(cases, labels=3)
    ungraded = split(cases, labels=3, pool="ungraded")
    assert grades(ungraded.unlabelled, cases) == {None: 20}
    assert set(ungraded.unlabelled) < set(everything.unlabelled)
    assert split(cases, labels=3, unlabelled=4).unlabelled == everything.unlabelled[:4]


def declared() -> list[Case]:
    parts = ("train", "train", "train", "validation", "test")
    return [image(number, number % 3, parts[number % 5]) for number in range(60)]


def test_the_parts_of_the_data_set_are_kept() -> None:
    cases = [*declared(), image(99, None, "test")]
    by_id = {case.id: case for case in cases}
    found = split(cases, labels=4, validation=None)
    assert {by_id[name].part for name in found.validation} == {"validation"}
    assert len(found.validation) == 12
    assert {by_id[name].part for name in found.test} == {"test"}
    assert len(found.test) == 12  # the ungraded one cannot be scored
    assert {by_id[name].part for name in (*found.labelled, *found.unlabelled)} == {"train"}
    assert grades(split(cases, labels=8, validation=0.25).validation, cases) == {0: 2, 1: 2, 2: 2}
    assert grades(split(cases, labels=1, validation=0.25).validation, cases) == {0: 1, 1: 1, 2: 1}


def test_a_list_of_the_data_set_says_who_is_labelled() -> None:
    cases = declared()
    found = split(cases, listed=["i2.png", "i0.png"], validation=None)
    assert found.labelled == ("i2", "i0")
    assert not {"i2", "i0"} & set(found.unlabelled)
    with pytest.raises(DataError, match=r"names i4\.png, which is no graded training image"):
        split(cases, listed=["i0.png", "i4.png"], validation=None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": 100}, "split.labels=100 is more than the .* training images of none"),
        ({"labels": 2, "validation": None}, "the data set's own validation part"),
        ({"labels": 2, "test": 0.01}, "needs at least 100 patients"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        split(knees(), **settings)


def test_a_grade_without_images_is_named() -> None:
    with pytest.raises(UsageError, match="more than the 0 training images of severe"):
        split([image(number, number % 2) for number in range(30)], labels=2)
    with pytest.raises(UsageError, match="no training image has the grade severe"):
        split([image(number, number % 2) for number in range(30)], labels=None)


def test_a_patient_in_two_parts_is_refused() -> None:
    cases = [*declared(), image(90, 1, "train", "x"), image(91, 1, "test", "x")]
    with pytest.raises(DataError, match="patient of image i91 for train and for test"):
        split(cases, labels=2, validation=None)
