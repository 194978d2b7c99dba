import numpy as np
import pytest

from medssl.evaluate.statistics import bootstrap_interval, crossed_means, paired_difference


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def test_interval_of_equal_values_is_that_value():
    assert bootstrap_interval([0.8] * 7, 200, generator()) == pytest.approx((0.8, 0.8))


def test_interval_agrees_with_the_normal_one_for_many_values():
    values = np.random.default_rng(3).normal(5, 2, size=400)
    low, high = bootstrap_interval(values, 4000, generator())
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.02)
    assert high == pytest.approx(values.mean() + half, abs=0.02)


def test_two_values_by_hand():
    """Means of two draws from {0, 1} are 0, 1/2 and 1 with chances 1/4, 1/2 and 1/4."""
    assert bootstrap_interval([0, 1], 2000, generator()) == (0, 1)
    assert bootstrap_interval([0, 1], 2000, generator(), level=0.3) == (0.5, 0.5)


def test_a_higher_level_is_wider():
    values = np.arange(20.0)
    narrow = bootstrap_interval(values, 2000, generator(), level=0.5)
    wide = bootstrap_interval(values, 2000, generator(), level=0.99)
    assert wide.low < narrow.low < values.mean() < narrow.high < wide.high


def test_the_generator_decides():
    values = np.random.default_rng(1).random(15)
    assert bootstrap_interval(values, 500, generator()) == bootstrap_interval(
        values, 500, generator()
    )


def test_one_value_has_no_interval():
    assert np.isnan(bootstrap_interval([0.5], 100, generator())).all()


@pytest.mark.parametrize("values", [[], [0.5, float("nan")], [float("inf")]])
def test_values_are_never_dropped_silently(values):
    with pytest.raises(ValueError, match="value"):
        bootstrap_interval(values, 100, generator())


def test_paired_difference_by_hand():
    """Five positive differences: the exact two-sided Wilcoxon p is 2 / 2^5."""
    second = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    gains = np.array([0.01, 0.02, 0.03, 0.04, 0.05])
    found = paired_difference(second + gains, second, generator())
    assert found.p == pytest.approx(2 / 2**5)
    assert (found.mean, found.n) == (pytest.approx(0.03), 5)
    assert 0 < found.low < found.mean < found.high


def test_pairs_matter_more_than_spread():
    """Cases differ by far more than the methods do; the pairing still shows the difference."""
    second = np.linspace(0, 1, 30)
    first = second + 0.01 + 0.002 * np.sin(np.arange(30))
    assert paired_difference(first, second, generator()).low > 0


def test_swapping_the_methods_flips_the_sign():
    first, second = np.random.default_rng(2).random((2, 12))
    there = paired_difference(first, second, generator())
    back = paired_difference(second, first, generator())
    assert (back.mean, back.p) == (pytest.approx(-there.mean), pytest.approx(there.p))
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))


def test_no_difference_at_all():
    found = paired_difference([0.3, 0.4], [0.3, 0.4], generator())
    assert (found.mean, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_unequal_lengths_are_no_pairs():
    with pytest.raises(ValueError, match="pairs"):
        paired_difference([0.1, 0.2], [0.1], generator())


def test_intervals_of_several_models_cover_that_their_skills_differ() -> None:
    """Two models of ten equal cases each: one draw in four has the better alone."""
    values, folds = np.repeat([0.0, 1.0], 10), np.repeat([0, 1], 10)
    low, high = bootstrap_interval(values, 2000, np.random.default_rng(0), folds=folds)
    assert (low, high) == (0, 1)
    cases = bootstrap_interval(values, 2000, np.random.default_rng(0))
    assert 0.2 < cases.low < cases.high < 0.8


def test_one_model_or_a_model_for_each_case_is_the_bootstrap_over_cases() -> None:
    values = np.random.default_rng(1).normal(size=30)
    plain = bootstrap_interval(values, 4000, np.random.default_rng(0))
    one = bootstrap_interval(values, 4000, np.random.default_rng(0), folds=np.zeros(30))
    assert one == plain
    each = bootstrap_interval(values, 4000, np.random.default_rng(0), folds=np.arange(30))
    assert each == pytest.approx(plain, abs=0.05)


def test_means_over_seeds_and_items_vary_by_both():
    """Standard deviations by hand: of means of two seeds, and of four items, with replacement."""
    generator = np.random.default_rng(0)
    seeds = np.array([[0.0] * 4, [1.0] * 4])
    (over_seeds,) = crossed_means([seeds], 4000, generator)
    assert over_seeds.std() == pytest.approx(0.5 / np.sqrt(2), rel=0.05)
    items = np.array([[0.0, 0.0, 1.0, 1.0]] * 2)
    (over_items,) = crossed_means([items], 4000, generator)
    assert over_items.std() == pytest.approx(0.5 / 2, rel=0.05)
    (over_both,) = crossed_means([seeds + items], 4000, generator)
    assert over_both.std() == pytest.approx(np.hypot(0.5 / np.sqrt(2), 0.25), rel=0.05)


def test_arms_share_the_items_and_those_of_as_many_seeds_the_seeds():
    table = np.random.default_rng(1).normal(size=(3, 10))
    first, second, single = crossed_means(
        [table, table + 1, table.mean(0, keepdims=True)], 200, np.random.default_rng(0)
    )
    np.testing.assert_allclose(second - first, 1)
    assert np.abs(single - first).max() > 0.01


def test_means_of_no_items_are_refused():
    with pytest.raises(ValueError, match="at least one value"):
        crossed_means([np.empty((2, 0))], 10, np.random.default_rng(0))
