import math

import numpy as np
import pytest

from medssl.evaluate.summary import ranked, summarise


def summary_of(cases):
    return summarise(cases, 200, np.random.default_rng(0))


def test_means_over_cases_and_classes_by_hand(scored):
    """Dice 1 and 1; then 1/2 and 1/2; then 1 and a missed class."""
    found = summary_of([scored("a"), scored("b", 1), scored("c", without=2)])
    near, far = found.classes
    assert near.means["dice"].mean == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert far.means["dice"].mean == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert found.overall.means["dice"].mean == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert found.overall.dice == pytest.approx((1, 1 / 2, 1 / 2))


def test_a_missed_class_is_counted_and_stays_in_the_mean(scored):
    found = summary_of([scored("a"), scored("b", without=2)])
    near, far = found.classes
    assert (near.missed, far.missed, found.overall.missed) == (0, 1, 1)
    assert near.n == far.n == found.overall.n == 2
    assert far.means["hd95"].mean == pytest.approx(math.hypot(20, 12, 14) / 2)


def test_equal_columns_have_equal_intervals(scored):
    found = summary_of([scored(str(shift), shift, voxels=True) for shift in range(4)])
    means = found.overall.means
    assert means["hd95"] == means["hd95_voxels"]  # the shift is along an axis of 1 mm
    assert means["hd95"].low < means["hd95"].mean < means["hd95"].high


def test_only_what_was_measured_has_a_column(scored):
    assert "hd95_voxels" not in summary_of([scored("a")]).overall.means
    assert "hd95_voxels" in summary_of([scored("a", voxels=True)]).overall.means


def test_numbers_for_a_tracker(scored):
    flat = summary_of([scored("a"), scored("b", without=2)]).flat()
    assert flat["cases"] == 2
    assert flat["dice"] == pytest.approx(0.75)
    assert flat["dice/far"] == pytest.approx(0.5)
    assert (flat["missed"], flat["missed/near"], flat["missed/far"]) == (1, 0, 1)
    assert flat["dice_low"] < flat["dice"] < flat["dice_high"]
    assert all(math.isfinite(value) for value in flat.values())


def test_a_single_case_has_a_mean_and_no_interval(scored):
    found = summary_of([scored("a", 1)])
    assert found.overall.means["dice"].mean == pytest.approx(0.5)
    assert math.isnan(found.overall.means["dice"].low)
    assert str(found.overall.means["dice"]) == "0.500"
    assert "dice_low" not in found.flat()


def test_no_cases_have_no_mean():
    with pytest.raises(ValueError, match="no cases"):
        summary_of([])


def test_best_median_and_worst(scored):
    cases = [scored("worst", 2), scored("best"), scored("middle", 1)]
    assert [(word, case.case) for word, case in ranked(cases, 3)] == [
        ("best", "best"),
        ("median", "middle"),
        ("worst", "worst"),
    ]
    assert [case.case for _, case in ranked(cases, 1)] == ["middle"]
    assert ranked(cases, 0) == []


def test_more_pictures_than_cases_and_ranks_between(scored):
    two = [scored("a"), scored("b", 1)]
    assert [word for word, _ in ranked(two, 3)] == ["best", "worst"]
    assert [word for word, _ in ranked(two[:1], 3)] == ["only case"]
    five = [scored(str(shift), shift) for shift in range(5)]
    assert [word for word, _ in ranked(five, 5)][1] == "rank 2 of 5"
