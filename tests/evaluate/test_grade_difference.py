"""Differences of two graders: hand-computed values, pairing, direction."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score

from medssl.evaluate.grade_difference import (
    accuracy_difference,
    greater_over_folds,
    kappa_difference,
)

TRUTH = np.repeat([0, 1, 2], [12, 6, 4])


def noisy(share: float, seed: int, runs: int = 3) -> np.ndarray:
    """[runs, S] grades that are right but for a share, which is drawn."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, 3, (runs, len(TRUTH)))
    return np.where(rng.random(drawn.shape) < share, drawn, TRUTH)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_values_are_those_of_scikit_learn_averaged_over_runs() -> None:
    first, second = noisy(0.2, 1), noisy(0.6, 2, runs=2)
    recall = [[balanced_accuracy_score(TRUTH, run) for run in runs] for runs in (first, second)]
    found = accuracy_difference(first, second, TRUTH, 200, rng())
    assert found.value == pytest.approx(np.mean(recall[0]) - np.mean(recall[1]))
    kappa = [
        [cohen_kappa_score(TRUTH, run, weights="quadratic") for run in runs]
        for runs in (first, second)
    ]
    found = kappa_difference(first, second, TRUTH, 200, rng())
    assert found.value == pytest.approx(np.mean(kappa[0]) - np.mean(kappa[1]))


@pytest.mark.parametrize("difference", [accuracy_difference, kappa_difference])
def test_intervals_hold_their_values_and_turn_with_the_arms(difference) -> None:
    first, second = noisy(0.2, 1), noisy(0.6, 2)
    forth = difference(first, second, TRUTH, 500, rng())
    back = difference(second, first, TRUTH, 500, rng())
    assert forth.low < forth.value < forth.high
    assert (back.low, back.high) == pytest.approx((-forth.high, -forth.low), abs=1e-12)


@pytest.mark.parametrize("difference", [accuracy_difference, kappa_difference])
def test_an_arm_does_not_differ_from_itself_in_any_resample(difference) -> None:
    runs = noisy(0.5, 3)
    found = difference(runs, runs, TRUTH, 100, rng())
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_the_test_over_parts_asks_for_the_better_one_first() -> None:
    truth = np.repeat(TRUTH, 10)
    first, second = np.tile(truth, (2, 1)), np.tile(np.repeat(noisy(0.6, 2)[:1], 10, 1), (2, 1))
    assert greater_over_folds(first, second, truth, 20, 0) < 0.01
    assert greater_over_folds(second, first, truth, 20, 0) > 0.99
    assert greater_over_folds(first, first, truth, 20, 0) == 1
    assert np.isnan(greater_over_folds(first[:, :30], second[:, :30], truth[:30], 40, 0))
