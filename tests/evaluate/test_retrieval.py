"""Retrieval across contrasts: hand-made similarities, ties, and directions."""

import numpy as np
import pytest

from medssl.evaluate.retrieval import cross_distance, retrieve, retrieve_across


def test_ranks_by_hand():
    """Row 0 finds its own first; row 1 second; row 2 last."""
    gallery = np.eye(3)
    query = np.array([[1.0, 0.1, 0], [1.0, 0.5, 0], [1.0, 0.5, 0.1]])
    found = retrieve(query, gallery)
    assert found.top1 == pytest.approx(1 / 3)
    assert found.top5 == 1
    assert found.median_rank == 2
    assert found.gallery == 3


@pytest.mark.parametrize("count", [2, 7, 50])
def test_equal_rows_score_by_chance(count):
    same = np.ones((count, 4))
    found = retrieve(same, same)
    assert found.top1 == pytest.approx(1 / count)
    assert found.top5 == pytest.approx(min(1, 5 / count))
    assert found.median_rank == pytest.approx((count + 1) / 2)


def test_scale_and_rounding_decide_nothing():
    rng = np.random.default_rng(0)
    query = rng.normal(size=(6, 5))
    assert retrieve(query, 1e-3 * query) == retrieve(query, query)
    assert retrieve(query, query + 1e-9 * rng.normal(size=query.shape)).top1 == 1


def test_zero_rows_are_no_error():
    assert retrieve(np.zeros((4, 3)), np.zeros((4, 3))).top1 == pytest.approx(0.25)


def test_every_direction_over_the_items_that_have_both():
    """Item 2 lacks contrast 1; contrast -1 is unknown and takes no part."""
    contrast = np.array([0, 1, 0, 1, 0, -1])
    item = np.array([0, 0, 1, 1, 2, 2])
    first = np.array([[1.0, 0], [1, 0], [0, 1], [0, 1], [1, 1], [1, 1]])
    found = retrieve_across(first, first, contrast, item)
    assert set(found) == {(0, 1), (1, 0)}
    assert {(one.top1, one.gallery) for one in found.values()} == {(1.0, 2)}


def test_queries_are_first_looks_and_the_gallery_second_ones():
    contrast, item = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    first = np.array([[1.0, 0], [0, 1], [0, 1], [1, 0]])
    second = np.array([[0.0, 1], [1, 0], [1, 0], [0, 1]])
    found = retrieve_across(first, second, contrast, item)
    assert found[0, 1].top1 == 1  # the second look at contrast 1 is as the first at contrast 0
    assert found[1, 0].top1 == 1
    assert retrieve_across(first, first, contrast, item)[0, 1].top1 == 0


def test_the_distance_is_between_contrasts_of_one_item():
    features = np.array([[1.0, 0], [0, 1], [1, 0], [1, 0]])
    contrast, item = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    assert cross_distance(features, contrast, item) == pytest.approx(0.5)
    assert np.isnan(cross_distance(features[:1], contrast[:1], item[:1]))


def at(*degrees):
    """Directions in the plane, of any length."""
    angles = np.radians(degrees)
    return (
        np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.arange(1, len(degrees) + 1)[:, None]
    )


def test_ranks_of_a_larger_gallery():
    """Own items are 70, 50, 30 and 10 degrees away: ranks 8, 7, 6, and 2 to 3 by a tie of two."""
    query = at(*range(0, 80, 10))
    assert retrieve(query, query).top1 == 1
    found = retrieve(query, query[::-1])
    assert found.top1 == 0
    assert found.top5 == pytest.approx(2 / 8)
    assert found.median_rank == pytest.approx(np.median([8, 7, 6, 2.5] * 2))


def test_rounding_does_not_decide_between_equals():
    generator = np.random.default_rng(0)
    same = np.ones((40, 8)) + 1e-9 * generator.normal(size=(40, 8))
    assert retrieve(same, same).top1 == pytest.approx(1 / 40)


def test_a_tie_of_two_counts_half():
    """Item 0 is found, or item 1 that lies there too; item 2 is alone."""
    found = retrieve(at(0, 0, 90), at(0, 0, 90))
    assert found.top1 == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert found.median_rank == 1.5


def test_features_that_are_not_finite_have_no_score():
    damaged = np.eye(3)
    damaged[1, 1] = np.nan
    for query, gallery in ((damaged, np.eye(3)), (np.eye(3), damaged)):
        found = retrieve(query, gallery)
        assert np.isnan([found.top1, found.top5, found.median_rank]).all()
        assert found.gallery == 3


def test_each_direction_has_the_gallery_of_its_own_items():
    """Items 0, 1, 2 have contrasts 0 and 1; item 2 has none of 2, and item 9 nothing else."""
    contrast = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    item = np.array([0, 1, 2, 2, 1, 0, 0, 1, 9])
    first = np.concatenate([at(0, 40, 80), at(80, 40, 0), at(80, 0, 40)])
    found = retrieve_across(first, first, contrast, item)
    assert set(found) == {(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)}
    assert found[0, 1].gallery == 3
    assert found[0, 2].gallery == found[2, 1].gallery == 2
    assert found[0, 1].top1 == found[1, 0].top1 == 1
    # Contrast 2 shows item 0 at 80 and item 1 at 0 degrees; queries are at 0 and 40.
    assert found[0, 2].top1 == pytest.approx((0 + 0.5) / 2)
    assert found[0, 2].median_rank == pytest.approx((2 + 1.5) / 2)
