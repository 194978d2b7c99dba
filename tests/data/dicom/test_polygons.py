"""Contours become masks: centres inside count, holes and islands keep their place."""

import numpy as np
import pytest
from matplotlib.path import Path

from medssl.data.dicom.polygons import filled, together


def square(low, high):
    return np.array([[low, low], [high, low], [high, high], [low, high]], float)


def test_centres_inside_are_marked():
    mask = filled(square(0.5, 2.5), (5, 5))
    assert np.argwhere(mask).tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]


@pytest.mark.parametrize("seed", range(8))
def test_filling_agrees_with_matplotlib(seed):
    polygon = np.random.default_rng(seed).uniform(-2, 14, (9, 2))
    centres = np.indices((12, 10)).reshape(2, -1).T
    mask = filled(polygon, (12, 10))
    crossings = Path(np.concatenate([polygon, polygon[:1]])).contains_points(centres)
    assert (mask.ravel() == crossings).mean() > 0.98  # what crosses itself is even-odd here


def test_what_lies_beyond_the_slice_is_cut():
    assert filled(square(-3.5, 30.5), (4, 6)).all()
    assert not filled(square(30.5, 40.5), (4, 6)).any()


def test_a_contour_in_a_contour_is_a_hole_and_one_in_the_hole_an_island():
    rings = [square(0.5, 8.5), square(2.5, 6.5), square(3.5, 5.5)]
    mask = together(rings[::-1], (10, 10))
    assert np.count_nonzero(mask) == 64 - 16 + 4
    assert mask[4, 4]
    assert not mask[3, 3]


def test_contours_that_overlap_or_repeat_add_to_the_mask():
    assert np.count_nonzero(together([square(0.5, 4.5), square(2.5, 6.5)], (9, 9))) == 28
    assert np.count_nonzero(together([square(0.5, 4.5)] * 2, (9, 9))) == 16
