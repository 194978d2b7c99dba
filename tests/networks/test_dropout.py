"""Dropout with a cheap mask: the share, the mean, the generator, and when it does nothing."""

import pytest
import torch

from medssl.networks.dropout import Dropout


@pytest.mark.parametrize("rate", [0.35, 0.8])
def test_dropout_takes_its_share_and_keeps_the_mean(rate):
    values = torch.ones(200_000, requires_grad=True)
    found = Dropout(rate).train()(values)
    assert (found == 0).float().mean().item() == pytest.approx(rate, abs=0.005)
    torch.testing.assert_close(found[found != 0].unique(), torch.tensor([1 / (1 - rate)]))
    found.sum().backward()
    torch.testing.assert_close(values.grad, found.detach())
    torch.manual_seed(0)
    one = Dropout(rate)(values)
    torch.manual_seed(0)
    assert torch.equal(one, Dropout(rate)(values))
    assert torch.equal(Dropout(rate).eval()(values), values)


@pytest.mark.parametrize("shape", [(1,), (3, 5), (7, 1, 3)])
def test_any_shape_is_masked(shape):
    found = Dropout(0.5).train()(torch.ones(shape))
    assert found.shape == shape
    assert set(found.unique().tolist()) <= {0.0, 2.0}


def test_values_that_share_a_random_integer_are_dropped_apart():
    """Of four neighbours all sixteen patterns occur, each about equally often."""
    torch.manual_seed(0)
    kept = Dropout(0.5).train()(torch.ones(40_000, 4)) > 0
    patterns = (kept * torch.tensor([1, 2, 4, 8])).sum(1).bincount(minlength=16)
    assert patterns.min() > 2300
    assert patterns.max() < 2700
