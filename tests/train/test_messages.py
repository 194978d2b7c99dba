"""Messages between processes hold values to the last bit, and nothing else."""

import math

import numpy as np
import pytest
import torch

from medssl.train.messages import packed, unpacked


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        0.1 + 0.2,
        5e-324,
        math.inf,
        "\u00e9\n",
        [],
        {},
        [[1.0], {"a": None}],
        {"": [0]},
    ],
)
def test_values_come_back(value):
    assert unpacked(packed(value)) == value


def test_what_is_no_number_comes_back():
    assert math.isnan(unpacked(packed(math.nan)))


def test_arrays_keep_bits_types_and_shapes():
    arrays = [
        np.random.default_rng(0).normal(size=(2, 3)),
        np.float32([[np.nan, -0.0]]).T,
        np.zeros((0, 4), np.int64),
        np.array(2.5),
        np.array([True, False]),
    ]
    found = unpacked(packed({"several": arrays, "one": torch.arange(3)}))
    for given, back in zip(arrays, found["several"], strict=True):
        assert (back.dtype, back.shape) == (given.dtype, given.shape)
        assert back.tobytes() == np.ascontiguousarray(given).tobytes()
    assert found["one"].tolist() == [0, 1, 2]


def test_tuples_and_numbers_of_numpy_become_plain():
    assert unpacked(packed((np.float64(0.1), np.int32(2)))) == [0.1, 2]


@pytest.mark.parametrize("value", [object(), {1: 2}, {"a": {1, 2}}])
def test_anything_else_is_refused(value):
    with pytest.raises(TypeError):
        packed(value)
