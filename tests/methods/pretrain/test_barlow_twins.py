"""Barlow Twins against hand-computed numbers."""

import pytest
import torch

from medssl.methods.pretrain.barlow_twins import correlation, standardised, twins_loss


def test_the_loss_of_correlations():
    found = twins_loss(torch.tensor([[0.5, 0.2], [0.1, 1.0]]), 0.1)
    assert float(found) == pytest.approx(0.25 + 0.1 * (0.04 + 0.01))


def test_the_identity_costs_nothing():
    assert float(twins_loss(torch.eye(5), 1.0)) == 0


def test_equal_views_correlate_fully_whatever_their_scale():
    rows = torch.randn(64, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = correlation(rows, 3 * rows + 1)
    assert found.diagonal().tolist() == pytest.approx([1] * 4, abs=1e-4)
    assert torch.allclose(found, torch.corrcoef(rows.T), atol=1e-4)


def test_features_are_standardised_over_rows():
    rows = standardised(torch.randn(2, 64, 3, generator=torch.Generator().manual_seed(0)))
    assert torch.allclose(rows.mean(1), torch.zeros(2, 3), atol=1e-5)
    assert torch.allclose(rows.var(1, correction=0), torch.ones(2, 3), atol=1e-3)


def test_a_feature_that_never_varies_is_finite():
    assert bool(correlation(torch.ones(8, 2), torch.ones(8, 2)).isfinite().all())
