"""What the numbers say of collapsed and of healthy answers."""

from math import log

import pytest
import torch

from medssl.methods.pretrain.collapse import effective_rank, feature_deviation, spread


def test_answers_that_are_all_uniform_tell_nothing():
    found = spread(torch.full((5, 4), 0.25))
    assert found.entropy.item() == pytest.approx(log(4))
    assert found.information.item() == pytest.approx(0, abs=1e-6)


def test_answers_that_all_name_one_prototype_tell_nothing():
    found = spread(torch.eye(4)[[2, 2, 2]])
    assert found.entropy.item() == found.information.item() == 0


def test_answers_that_name_a_prototype_each_tell_all():
    found = spread(torch.eye(4))
    assert found.entropy.item() == 0
    assert found.information.item() == pytest.approx(log(4))


def test_a_hand_example():
    """H(1/2, 1/2) - (H(1/4, 3/4) + H(3/4, 1/4)) / 2 = ln 2 - 0.562335."""
    found = spread(torch.tensor([[0.25, 0.75], [0.75, 0.25]]))
    assert found.entropy.item() == pytest.approx(0.562335, abs=1e-6)
    assert found.information.item() == pytest.approx(0.130812, abs=1e-6)


def test_features_in_all_directions_deviate_by_one_and_equal_ones_by_none():
    g = torch.Generator().manual_seed(0)
    assert feature_deviation(torch.randn(2000, 64, generator=g)).item() == pytest.approx(
        1, abs=0.02
    )
    assert feature_deviation(torch.ones(7, 64)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_the_effective_rank_counts_equal_directions(rank):
    """Plus and minus each of `rank` axes: centred, all singular values equal."""
    axes = torch.eye(16)[:rank]
    assert effective_rank(torch.cat([axes, -axes]) + 5).item() == pytest.approx(rank, abs=1e-3)


def test_an_uneven_rank_lies_between():
    features = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    expected = torch.tensor([0.75, 0.25])  # singular values 3 and 1, times sqrt 2
    assert effective_rank(features).item() == pytest.approx(
        float((-(expected * expected.log()).sum()).exp()), abs=1e-5
    )


def test_equal_features_have_no_rank():
    assert effective_rank(torch.ones(6, 4)).item() == 0
