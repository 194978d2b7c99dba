"""VICReg against hand-computed numbers."""

import pytest
import torch

from medssl.methods.pretrain.vicreg import covariance_loss, variance_loss
from tests.methods.pretrain.scans import build, pair_batch, terms


def test_features_that_vary_enough_cost_nothing():
    rows = torch.tensor([[2.0, 0.0], [-2.0, 0.0]])
    assert float(variance_loss(rows)) == pytest.approx((0 + 1 - 0.01) / 2)


def test_features_that_go_together_cost_their_covariance():
    rows = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])  # covariance 2 between both
    assert float(covariance_loss(rows)) == pytest.approx((4 + 4) / 2)
    assert float(covariance_loss(torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]]))) == 0


def test_the_terms_have_their_weights():
    plain, heavy = (
        terms(build("vicreg", masking=None, decoder_width=None, invariance=weight),
              {"pairs": pair_batch()})
        for weight in (1.0, 3.0)
    )  # fmt: skip
    assert float(heavy["invariance"]) == pytest.approx(3 * float(plain["invariance"]))
    assert float(heavy["variance"]) == pytest.approx(float(plain["variance"]))
