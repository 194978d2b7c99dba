"""Largest component and hole filling on drawings small enough to check by eye."""

import numpy as np
import pytest

from medssl.errors import UsageError
from medssl.infer.cleaning import Cleaning
from medssl.infer.postprocess import drop_small, fill_holes, largest_component
from medssl.settings import PredictSettings


def plane(*rows: str) -> np.ndarray:
    """One plane of labels, drawn; '.' is background. Thickness one: [X, Y, 1]."""
    values = [[0 if sign == "." else int(sign) for sign in row] for row in rows]
    return np.array(values, np.uint8)[..., None]


def shell(side: int = 5, value: int = 1) -> np.ndarray:
    """A hollow cube, closed on all sides."""
    labels = np.full((side, side, side), value, np.uint8)
    labels[1:-1, 1:-1, 1:-1] = 0
    return labels


def test_the_largest_piece_of_each_class_stays():
    before = plane("11..2", "1...2", "..1..", ".....", "22222")
    after = plane("11...", "1....", ".....", ".....", "22222")
    np.testing.assert_array_equal(largest_component(before, [1, 2]), after)


def test_corners_connect():
    labels = plane("1..", ".1.", "..1")
    np.testing.assert_array_equal(largest_component(labels, [1]), labels)


def test_classes_not_named_stay_as_they_are():
    labels = plane("1.1", "...", "2.2")
    np.testing.assert_array_equal(largest_component(labels, [1]), plane("1..", "...", "2.2"))


def test_of_equal_pieces_the_first_stays():
    np.testing.assert_array_equal(largest_component(plane("3.3"), [3]), plane("3.."))


def test_absent_classes_and_empty_maps_are_no_error():
    empty = np.zeros((3, 3, 3), np.uint8)
    np.testing.assert_array_equal(largest_component(empty, [1, 2]), empty)
    np.testing.assert_array_equal(fill_holes(empty, [1]), empty)
    labels = plane("3.3")
    np.testing.assert_array_equal(largest_component(labels, [1, 7]), labels)


def test_a_closed_cavity_is_filled():
    assert (fill_holes(shell(value=4), [4]) == 4).all()


def test_a_cavity_with_a_way_out_stays():
    labels = shell()
    labels[2, 2, 0] = 0
    np.testing.assert_array_equal(fill_holes(labels, [1, 2]), labels)


def test_a_way_over_an_edge_is_no_way_out():
    labels = shell()
    labels[0, 0, 2] = 0  # touches the cavity over an edge only
    filled = fill_holes(labels, [1, 2])
    assert filled[2, 2, 2] == 1
    assert filled[0, 0, 2] == 0


def test_another_class_inside_stays():
    labels = shell()
    labels[2, 2, 2] = 2
    filled = fill_holes(labels, [1, 2])
    assert filled[2, 2, 2] == 2
    assert np.count_nonzero(filled == 1) == 5**3 - 1


def test_the_input_is_left_alone():
    labels = shell()
    before = labels.copy()
    fill_holes(labels, [1, 2])
    largest_component(labels, [1])
    np.testing.assert_array_equal(labels, before)


def test_holes_of_other_classes_stay():
    labels = shell(value=4)
    np.testing.assert_array_equal(fill_holes(labels, [1]), labels)


def test_parts_below_the_limit_of_their_class_go():
    labels = plane("33.2", "...2", "3..2")
    np.testing.assert_array_equal(drop_small(labels, {3: 2, 2: 3}), plane("33.2", "...2", "...2"))
    np.testing.assert_array_equal(drop_small(labels, {3: 3, 2: 4}), plane("....", "....", "...."))


CLASSES = ("background", "liver", "tumour")


def test_settings_name_all_classes_or_some():
    assert Cleaning.of(PredictSettings(), CLASSES) == Cleaning()
    every = Cleaning.of(PredictSettings(largest_component=True, fill_holes=False), CLASSES)
    assert every == Cleaning(largest=(1, 2))
    some = PredictSettings(fill_holes=("tumour",), smallest_ml={"tumour": 0.5})
    assert Cleaning.of(some, CLASSES) == Cleaning(smallest=((2, 0.5),), holes=(2,))
    assert Cleaning.of(PredictSettings(smallest_ml=1), CLASSES).smallest == ((1, 1.0), (2, 1.0))


def test_an_unknown_class_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="fill_holes names 'tumor'") as error:
        Cleaning.of(PredictSettings(fill_holes=("tumor",)), CLASSES)
    assert "tumour" in str(error.value)


def test_a_volume_in_ml_counts_voxels_of_any_size():
    labels = plane("33.3")
    keep = Cleaning(smallest=((3, 0.016),))  # two voxels of 8 cubic millimetres
    np.testing.assert_array_equal(keep(labels, 8.0), plane("33.."))
    np.testing.assert_array_equal(keep(labels, 16.0), labels)


def test_in_a_2d_image_a_ring_closes_its_hole():
    before = plane("111..", "1.1..", "111..", "....1")
    after = plane("111..", "111..", "111..", "....1")
    np.testing.assert_array_equal(fill_holes(before, [1]), after)
    thick = np.concatenate([np.zeros_like(before), before, np.zeros_like(before)], axis=2)
    np.testing.assert_array_equal(fill_holes(thick, [1]), thick)  # open above and below
