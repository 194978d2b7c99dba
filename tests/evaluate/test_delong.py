import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from medssl.evaluate.delong import delong_covariance, delong_interval


def mann_whitney(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Areas and covariance straight from DeLong's definition, over all pairs of slides."""
    placements = []
    for score in scores:
        own, others = score[positive][:, None], score[~positive][None]
        placements.append((own > others) + 0.5 * (own == others))
    kernel = np.array(placements)
    areas = kernel.mean(axis=(1, 2))
    count = len(scores)
    covariance = np.zeros((count, count))
    for axis, n in ((2, positive.sum()), (1, (~positive).sum())):
        deviation = kernel.mean(axis=axis) - areas[:, None]
        covariance += deviation @ deviation.T / (n - 1) / n
    return areas, covariance


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(2, 12), st.integers(2, 12), st.integers(2, 30))
def test_ranks_give_what_all_pairs_give(seed, own, others, levels):
    """Also with ties, which few levels make frequent."""
    generator = np.random.default_rng(seed)
    positive = generator.permutation(np.arange(own + others) < own)
    scores = generator.integers(levels, size=(3, own + others)) / levels
    expected = mann_whitney(scores, positive)
    area, covariance = delong_covariance(scores, positive)
    np.testing.assert_allclose(area, expected[0], atol=1e-12)
    np.testing.assert_allclose(covariance, expected[1], atol=1e-12)
    for score, found in zip(scores, area, strict=True):
        assert found == pytest.approx(roc_auc_score(positive, score))


def test_by_hand():
    """Positives 3 and 1, negatives 2 and 0: three of four pairs are right.

    Placements of the positives are 1 and 1/2, of the negatives 1/2 and 1: variance
    2 x (1/8 / 2) = 1/8.
    """
    area, covariance = delong_covariance(np.array([[3, 1, 2, 0]]), np.array([1, 1, 0, 0], bool))
    assert (area[0], covariance[0, 0]) == (0.75, pytest.approx(1 / 8))


def test_the_interval_holds_the_true_area_as_often_as_it_says():
    """Normal scores one deviation apart: the area is Phi(1 / sqrt 2) = 0.7602."""
    generator = np.random.default_rng(0)
    positive = np.arange(120) < 50
    inside = 0
    for _ in range(600):
        low, high = delong_interval(generator.normal(size=120) + positive, positive)
        inside += low <= 0.76025 <= high
    assert 0.92 <= inside / 600 <= 0.97


@pytest.mark.parametrize("count", [1, 3])
def test_no_interval_where_it_would_claim_certainty(count):
    """A single slide of a kind, or classes that are perfectly parted."""
    score = np.arange(8.0)
    assert np.isnan(delong_interval(score, score >= 8 - count)).all()


def test_the_interval_stays_within_0_and_1():
    low, high = delong_interval(np.array([5, 4, 3, 2, 1]), np.array([1, 1, 0, 1, 0], bool))
    assert 0 <= low < high == 1


def test_one_slide_of_a_kind_has_no_variance():
    with pytest.raises(ValueError, match="1 and 4"):
        delong_covariance(np.arange(5.0)[None], np.arange(5) == 0)
