from collections import Counter
from pathlib import Path

import pytest

from medssl.data.folds import make_folds
from medssl.data.spec import Case
from medssl.errors import UsageError

CLASSES = ("normal", "tumour")


def slide(number: int, label: int | None, patient: str = "", part: str | None = None) -> Case:
    return Case(
        id=f"s{number}",
        patient=patient or f"p{number}",
        images={"slide": Path(f"s{number}.svs")},
        part=part,
        extra={"class": label},
    )


COHORT = [slide(n, int(n >= 30)) for n in range(50)]


def test_every_case_is_tested_once_and_classes_keep_their_share() -> None:
    folds = make_folds(COHORT, CLASSES, 10, 0.2, seed=0)
    assert sorted(name for fold in folds for name in fold.test) == sorted(c.id for c in COHORT)
    for fold in folds:
        assert Counter(int(int(name[1:]) >= 30) for name in fold.test) == {0: 3, 1: 2}
        assert len(fold.validation) == 9
        assert len(fold.labelled) == 36
        roles = [*fold.labelled, *fold.validation, *fold.test]
        assert len(set(roles)) == len(roles) == 50


def test_a_patients_slides_stay_together() -> None:
    cases = [slide(n, int(n >= 20), patient=f"p{n // 2}") for n in range(40)]
    for fold in make_folds(cases, CLASSES, 5, 0.25, seed=3):
        owners = [{int(n[1:]) // 2 for n in r} for r in (fold.labelled, fold.validation, fold.test)]
        assert not owners[0] & owners[1]
        assert not owners[0] & owners[2]
        assert not owners[1] & owners[2]


def test_equal_seeds_give_equal_folds_and_others_do_not() -> None:
    one, same, other = (make_folds(COHORT, CLASSES, 5, 0.2, seed) for seed in (1, 1, 2))
    assert one == same
    assert [fold.hash for fold in one] != [fold.hash for fold in other]


def test_a_declared_test_part_is_the_only_fold() -> None:
    cases = [*COHORT, slide(50, 0, part="test"), slide(51, 1, part="test")]
    (fold,) = make_folds(cases, CLASSES, 10, 0.2, seed=0)
    assert fold.test == ("s50", "s51")
    assert len(fold.labelled) + len(fold.validation) == 50


def test_without_folds_nothing_is_held_out() -> None:
    (fold,) = make_folds([slide(0, 0), slide(1, 1), slide(2, None)], CLASSES, 0, 0.0, seed=0)
    assert fold.labelled == ("s0", "s1")
    assert fold.unlabelled == ("s2",)
    assert (fold.validation, fold.test) == ((), ())


def test_too_few_patients_of_a_class_are_named() -> None:
    with pytest.raises(UsageError, match="'tumour' has 2"):
        make_folds(COHORT[:32], CLASSES, 5, 0.2, seed=0)
