from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from medssl.data.folds import leave_out, make_folds, shortcomings
from medssl.data.spec import Case
from medssl.data.split import Split, make_split
from medssl.data.split_settings import SplitSettings
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
    final, *folds = make_folds(COHORT, CLASSES, 10, 0.2, seed=0)
    assert len(final.labelled) + len(final.validation) == 50
    assert final.test == ()
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
    with pytest.raises(UsageError, match=r"'tumour' has 2; set split.folds=2, or add cases"):
        make_folds(COHORT[:32], CLASSES, 5, 0.2, seed=0)
    make_folds(COHORT[:32], CLASSES, 2, 0, seed=0)
    with pytest.raises(UsageError, match=r"'tumour' has 1; set split.folds=0"):
        make_folds(COHORT[:31], CLASSES, 5, 0.2, seed=0)


MASKED = [Case(f"c{n}", f"p{n // 2}", {}, Path(f"m{n}")) for n in range(12)]
"""Six patients of two cases each."""


def dealt(labels: int, folds: int) -> list[tuple[str, ...]]:
    split = make_split(MASKED, SplitSettings(labels=labels, validation=0), 0)
    return [fold.test for fold in leave_out(split, MASKED, folds, {})]


def alone(contents: dict[str, dict[str, float]], folds: int) -> list[Split]:
    """Folds of cases that are each a patient, labelled in the order of `contents`."""
    cases = [Case(name, f"p{name}", {}, Path(name)) for name in contents]
    return list(leave_out(Split(tuple(contents), (), (), (), 0), cases, folds, contents))


def test_every_labelled_case_is_left_out_once_with_its_patient() -> None:
    split = make_split(MASKED, SplitSettings(labels=12, validation=0), 0)
    folds = leave_out(split, MASKED, 4, {})
    assert sorted(name for fold in folds for name in fold.test) == sorted(split.labelled)
    patient = {case.id: case.patient for case in MASKED}
    for fold in folds:
        assert {*fold.labelled, *fold.test} == set(split.labelled)
        assert not {patient[n] for n in fold.test} & {patient[n] for n in fold.labelled}
        assert fold.unlabelled == split.unlabelled


def test_unlabelled_cases_of_a_patient_who_is_left_out_are_left_out_too() -> None:
    cases = [Case(f"c{n}", f"p{n % 2}", {}, Path("m")) for n in range(4)]
    first, second = leave_out(Split(("c0", "c1"), ("c2", "c3"), (), (), 0), cases, 2, {})
    assert (first.test, first.unlabelled) == (("c0",), ("c3",))
    assert (second.test, second.unlabelled) == (("c1",), ("c2",))


def test_folds_of_a_smaller_budget_are_parts_of_those_of_a_larger_one() -> None:
    for small, large in zip(dealt(6, 3), dealt(12, 3), strict=True):
        assert set(small) <= set(large)
    shown = {f"c{n}": {"liver": 40.0 + 7 * n % 11, **({"cyst": 1.0} if n % 3 else {})}
             for n in range(20)}  # fmt: skip
    for budget in range(6, 20):
        some = dict(list(shown.items())[:budget])
        for small, large in zip(alone(some, 5), alone(shown, 5), strict=True):
            assert set(small.test) <= set(large.test)


@pytest.mark.parametrize("patients", [2, 3, 4, 5])
def test_with_few_patients_each_is_left_out_once(patients: int) -> None:
    folds = alone({f"c{n}": {"a": 1.0} for n in range(patients)}, 5)
    assert [fold.test for fold in folds] == [(f"c{n}",) for n in range(patients)]
    assert [len(test) for test in dealt(6, 5)] == [2, 2, 2]


def test_eight_patients_in_five_folds_are_two_two_two_one_one() -> None:
    folds = alone({f"c{n}": {"a": 1.0} for n in range(8)}, 5)
    assert sorted(len(fold.test) for fold in folds) == [1, 1, 2, 2, 2]


def test_a_rare_class_is_dealt_out_evenly() -> None:
    shown = {f"c{n}": {"liver": 1.0, **({"tumour": 1.0} if n in (0, 3, 4, 6) else {})}
             for n in range(8)}  # fmt: skip
    folds = alone(shown, 2)
    assert [len(fold.test) for fold in folds] == [4, 4]
    for fold in folds:
        assert sum("tumour" in shown[name] for name in fold.test) == 2


@pytest.mark.parametrize(("third", "with_the_large"), [(3.0, True), (18.0, False)])
def test_of_folds_of_equal_numbers_a_small_volume_joins_the_large(
    third: float, with_the_large: bool
) -> None:
    """After 20 and 1, 3 brings the first fold nearer to the mean of all, 18 the second one."""
    volumes = {"c0": 20.0, "c1": 1.0, "c2": third}
    first, second = alone({name: {"a": volume} for name, volume in volumes.items()}, 2)
    assert ("c2" in first.test, "c2" in second.test) == (with_the_large, not with_the_large)


def test_folds_have_more_equal_volumes_than_if_they_were_dealt_out_in_turn() -> None:
    spread, in_turn = [], []
    for seed in range(20):
        volumes = np.random.default_rng(seed).lognormal(0, 0.6, 20)
        folds = alone({f"c{n}": {"a": volume} for n, volume in enumerate(volumes)}, 5)
        assert [len(fold.test) for fold in folds] == [4] * 5
        spread.append(np.std([np.mean([volumes[int(n[1:])] for n in f.test]) for f in folds]))
        in_turn.append(np.std([volumes[start::5].mean() for start in range(5)]))
    assert np.mean(spread) < 0.8 * np.mean(in_turn)


def test_one_patient_cannot_be_folded() -> None:
    split = make_split(MASKED, SplitSettings(labels=2, validation=0), 0)
    with pytest.raises(UsageError, match=r"two patients or more; 2 of one patient are .*folds=0"):
        leave_out(split, MASKED, 5, {})


def test_what_a_cross_validation_cannot_say_is_told() -> None:
    shown = {"c0": {"a": 1.0, "b": 1.0}, "c1": {"a": 1.0}, "c2": {"a": 2.0}}
    few, rare = shortcomings(alone(shown, 5), shown, 5)
    assert few.startswith("split.folds=5 is more than the 3 labelled patients")
    assert "that of case c0 has the class 'b'" in rare
    shown["c1"]["b"] = 1.0
    assert not list(shortcomings(alone(shown, 3), shown, 3))
