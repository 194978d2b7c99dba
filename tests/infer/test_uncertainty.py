"""Entropy, and averaging over mirrored copies."""

import math

import pytest
import torch
from torch import Tensor, nn

from medssl.infer.uncertainty import entropy, flipped
from medssl.networks.outputs import plain

CLASSES = plain(("background", "one"))


def test_entropy_is_zero_when_sure_and_one_when_clueless():
    probabilities = torch.tensor([[1.0, 1 / 3], [0.0, 1 / 3], [0.0, 1 / 3]])
    assert entropy(probabilities).tolist() == pytest.approx([0, 1])


def test_entropy_of_three_quarters():
    # -(3/4 log2 3/4 + 1/4 log2 1/4) = 2 - 3/4 log2 3
    value = entropy(torch.tensor([0.75, 0.25]).reshape(2, 1, 1, 1))
    assert value.shape == (1, 1, 1)
    assert value.item() == pytest.approx(2 - 0.75 * math.log2(3))


def test_entropy_does_not_care_which_class_is_which():
    probabilities = torch.rand((5, 4, 3, 2), generator=torch.Generator().manual_seed(0)).softmax(0)
    torch.testing.assert_close(entropy(probabilities), entropy(probabilities.flip(0)))


def test_entropy_of_one_class_has_no_meaning():
    with pytest.raises(ValueError, match="two classes"):
        entropy(torch.ones(1, 2, 2, 2))


def lopsided() -> nn.Module:
    torch.manual_seed(1)
    return nn.Conv3d(1, 3, 3, padding=1).requires_grad_(False)


def windows() -> Tensor:
    return torch.randn((2, 1, 5, 6, 7), generator=torch.Generator().manual_seed(2))


def test_mirroring_averages_probabilities():
    network, batch = lopsided(), windows()
    expected = (network(batch).softmax(1) + network(batch.flip(3)).softmax(1).flip(3)) / 2
    torch.testing.assert_close(flipped(network, (1,), CLASSES)(batch).softmax(1), expected)


def test_a_mirrored_input_gives_the_mirrored_answer():
    answer, batch = flipped(lopsided(), (0, 1, 2), CLASSES), windows()
    for axis in (2, 3, 4):
        torch.testing.assert_close(answer(batch.flip(axis)), answer(batch).flip(axis))


def test_every_combination_of_axes_is_asked_once():
    asked = []

    def predictor(batch: Tensor) -> Tensor:
        asked.append(tuple(batch[0, 0].flatten().tolist()))
        return batch

    flipped(predictor, (0, 1, 2), CLASSES)(torch.arange(8.0).reshape(1, 1, 2, 2, 2))
    assert len(asked) == len(set(asked)) == 8


def test_a_probability_of_zero_stays_a_number():
    def certain(batch: Tensor) -> Tensor:
        return torch.cat([batch * 0 + 1000, batch * 0 - 1000], dim=1)

    answer = flipped(certain, (0,), CLASSES)(windows())
    assert torch.isfinite(answer).all()
    assert answer.softmax(1)[:, 0].eq(1).all()
