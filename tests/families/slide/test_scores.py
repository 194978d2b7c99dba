"""Numbers over folds, by hand."""

import math

import pytest

from medssl.families.slide.scores import fold_areas, fold_calls, optimistic, summarise
from medssl.families.slide.train import Calls

TRUTH = {"a": 0, "b": 1, "c": 0, "d": 1, "e": 1}


def said(**positive: float) -> dict[str, list[float]]:
    return {bag: [1 - p, p] for bag, p in positive.items()}


FIRST = Calls(0.7, said(a=0.6, b=0.8))  # both right at 0.7
SECOND = Calls(0.2, said(c=0.3, d=0.1, e=0.9))  # c and d wrong at 0.2


def calls():
    return [*fold_calls(0, FIRST, TRUTH), *fold_calls(1, SECOND, TRUTH)]


def test_each_fold_uses_its_own_threshold() -> None:
    assert [call.right for call in calls()] == [True, True, False, False, True]


def test_accuracy_counts_bags_and_auc_is_the_mean_over_folds() -> None:
    found = summarise(calls(), 200)
    assert found["bags"] == 5
    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["accuracy_low"] < 3 / 5 < found["accuracy_high"]
    assert found["accuracy_half"] == pytest.approx(3 / 5)  # a is now wrong and c right
    assert fold_areas(calls()) == [1.0, 0.5]
    assert found["auc"] == pytest.approx(0.75)
    # Over both folds: of 6 pairs, b and e beat a and c, d loses to both.
    assert found["auc_pooled"] == pytest.approx(4 / 6)


def test_a_fold_of_one_class_has_no_auc_and_is_left_out_of_the_mean() -> None:
    only = Calls(0.5, said(b=0.9, d=0.8))
    found = fold_calls(0, FIRST, TRUTH) + fold_calls(1, only, TRUTH)
    assert math.isnan(fold_areas(found)[1])
    assert summarise(found, 200)["auc"] == 1.0


def test_the_optimistic_protocol_takes_the_best_epoch_on_the_test_bags_themselves() -> None:
    bad, good = said(a=0.9, b=0.1), said(a=0.4, b=0.45)
    watched = Calls(0.5, bad, (bad, good))
    assert optimistic([watched], TRUTH) == {"optimistic_accuracy": 1.0, "optimistic_auc": 1.0}
    assert summarise(fold_calls(0, watched, TRUTH), 200)["accuracy"] == 0.0


def test_without_watched_test_bags_there_are_no_optimistic_numbers() -> None:
    assert optimistic([FIRST, SECOND], TRUTH) == {}
