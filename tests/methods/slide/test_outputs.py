"""Sigmoid outputs as class probabilities, and their loss."""

from math import exp, log

import pytest
import torch

from medssl.errors import DataError, UsageError
from medssl.methods.method import BagTask
from medssl.methods.slide.outputs import (
    bag_probability,
    each_class,
    one_vs_rest_loss,
    positive_weights,
    refuse_empty,
    sigmoid_outputs,
)


def task(*counts):
    return BagTask(4, tuple(f"c{n}" for n in range(len(counts))), counts)


def sigmoid(x):
    return 1 / (1 + exp(-x))


def test_two_classes_need_one_output_and_more_one_each():
    assert [sigmoid_outputs(task(*[1] * k)) for k in (2, 3, 4)] == [1, 3, 4]


def test_one_output_is_the_second_class():
    assert bag_probability(torch.tensor([0.8])).tolist() == pytest.approx([0.2, 0.8])
    assert each_class(torch.tensor([[0.8], [0.1]]))[1].tolist() == pytest.approx([0.9, 0.1])


def test_several_outputs_are_normalised_for_the_bag_alone():
    values = torch.tensor([0.2, 0.6, 0.4])
    assert bag_probability(values).tolist() == pytest.approx([1 / 6, 1 / 2, 1 / 3])
    assert torch.equal(each_class(values), values)
    assert bool(bag_probability(torch.zeros(3)).isfinite().all())


def test_the_loss_is_that_of_each_class_against_the_rest():
    one = one_vs_rest_loss(torch.tensor([0.7]), torch.tensor(0))
    assert one.item() == pytest.approx(-log(1 - sigmoid(0.7)))
    three = one_vs_rest_loss(torch.tensor([0.7, -1.0, 2.0]), torch.tensor(1))
    expected = -(log(1 - sigmoid(0.7)) + log(sigmoid(-1.0)) + log(1 - sigmoid(2.0))) / 3
    assert three.item() == pytest.approx(expected)


def test_positive_bags_weigh_negatives_per_positive():
    assert positive_weights(task(30, 10)).tolist() == [3.0]
    assert positive_weights(task(2, 3, 5)).tolist() == pytest.approx([4.0, 7 / 3, 1.0])
    weighed = one_vs_rest_loss(torch.tensor([0.7]), torch.tensor(1), torch.tensor([3.0]))
    assert weighed.item() == pytest.approx(-3 * log(sigmoid(0.7)))


def test_a_class_without_bags_cannot_be_weighed():
    with pytest.raises(UsageError, match="c1 has no training bag"):
        positive_weights(task(4, 0))


def test_an_empty_bag_is_refused():
    with pytest.raises(DataError, match="holds no patch"):
        refuse_empty(torch.zeros(0, 4))


def test_the_loss_is_in_single_precision_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        found = one_vs_rest_loss(torch.tensor([0.7], dtype=torch.bfloat16), torch.tensor(1))
    assert found.dtype == torch.float32
