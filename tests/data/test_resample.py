"""Resampling: by hand, and against scipy and torch as independent judges."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from medssl.data.resample import copy_in_rows, linear_axis, nearest_axis, taps

SHAPES = [((5, 7, 4), (11, 3, 4)), ((3, 4, 6), (3, 9, 1)), ((1, 2, 5), (4, 5, 5))]


def linear(array: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """All three axes of `array` [X, Y, Z], one by one."""
    for axis in (2, 1, 0):
        array = linear_axis(array, axis, taps(array.shape[axis], shape[axis]))
    return array


def nearest(array: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """All three axes of `array` [X, Y, Z], one by one."""
    for axis in (0, 1, 2):
        array = nearest_axis(array, axis, taps(array.shape[axis], shape[axis]))
    return array


def _noise(shape):
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


def _centres(shape, wanted):
    """Index in the old grid of every voxel centre of the new one, ends clamped."""
    axes = [(np.arange(n) + 0.5) * m / n - 0.5 for m, n in zip(shape, wanted, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def test_linear_by_hand():
    row = np.array([0, 4, 8], np.float32).reshape(3, 1, 1)
    assert linear(row, (6, 1, 1)).ravel().tolist() == [0, 1, 3, 5, 7, 8]
    assert linear(row[:2], (1, 1, 1)).ravel().tolist() == [2]


def test_nearest_by_hand():
    row = np.array([5, 6, 7], np.uint8).reshape(3, 1, 1)
    assert nearest(row, (6, 1, 1)).ravel().tolist() == [5, 5, 6, 6, 7, 7]
    assert nearest(row, (1, 1, 1)).ravel().tolist() == [6]
    assert nearest(row, (4, 1, 1)).ravel().tolist() == [5, 6, 6, 7]


@pytest.mark.parametrize(("shape", "wanted"), SHAPES)
def test_linear_agrees_with_scipy(shape, wanted):
    array = _noise(shape)
    reference = map_coordinates(array, _centres(shape, wanted), order=1, mode="nearest")
    np.testing.assert_allclose(linear(array, wanted), reference, atol=1e-5)


@pytest.mark.parametrize(("shape", "wanted"), SHAPES)
def test_linear_agrees_with_torch(shape, wanted):
    import torch

    array = _noise(shape)
    reference = torch.nn.functional.interpolate(
        torch.from_numpy(array)[None, None], size=wanted, mode="trilinear", align_corners=False
    )
    np.testing.assert_allclose(linear(array, wanted), reference[0, 0], atol=1e-6)


def test_a_ramp_keeps_its_places_in_space():
    """Half-voxel alignment: away from the border, a linear function is reproduced exactly."""
    ramp = _centres((8, 6, 4), (8, 6, 4)).sum(axis=0).astype(np.float32)
    finer = linear(ramp, (16, 12, 8))
    expected = _centres((8, 6, 4), (16, 12, 8)).sum(axis=0)
    np.testing.assert_allclose(finer[1:-1, 1:-1, 1:-1], expected[1:-1, 1:-1, 1:-1], atol=1e-5)


@pytest.mark.parametrize("resample", [linear, nearest])
def test_equal_shapes_change_nothing(resample):
    array = _noise((3, 4, 5))
    assert resample(array, (3, 4, 5)) is array


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (2, 0, 1)])
@pytest.mark.parametrize("resample", [linear, nearest])
def test_the_order_in_memory_changes_nothing(resample, order):
    array = _noise((5, 7, 4))
    as_stored = array.transpose(order).copy().transpose(np.argsort(order))
    expected = resample(array, (11, 3, 6))
    np.testing.assert_array_equal(resample(as_stored, (11, 3, 6)), expected)


def test_copying_in_rows_copies_every_voxel():
    array = _noise((37, 5, 3)).T
    out = np.empty(array.shape, np.float32)
    copy_in_rows(array, out)
    np.testing.assert_array_equal(out, array)
