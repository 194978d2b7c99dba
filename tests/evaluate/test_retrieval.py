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
