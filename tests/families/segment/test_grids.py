"""Shapes on the network's grid, foreseen from headers and from scans that were prepared."""

import numpy as np
import pytest

from medssl.data.geometry import Geometry
from medssl.data.record import Record
from medssl.families.segment.grids import foreseen


def lying(shape: tuple[int, int, int], spacing: tuple[float, float, float], code: str) -> Geometry:
    """A grid of so many voxels from left to right, to the front and upwards, turned as told."""
    upright = Geometry(shape, np.diag([*spacing, 1.0]))
    return upright.oriented(code)[0]


def test_of_resampled_scans_the_spacing_of_the_network_counts() -> None:
    """A side of 100 voxels of 1 mm is one of 50 of 2 mm; one of 60 of 3 mm is one of 90."""
    done = Record(lying((100, 80, 40), (1, 1, 3), "RAS"), lying((50, 40, 60), (2, 2, 2), "RAS"))
    assert foreseen([done], [lying((60, 50, 20), (3, 1, 5), "RAS")]) == [(90, 25, 50)]


def test_of_others_each_keeps_its_own_voxels() -> None:
    done = Record(lying((100, 80, 40), (1, 1, 3), "RAS"), lying((100, 80, 40), (1, 1, 3), "RAS"))
    assert foreseen([done], [lying((60, 50, 20), (2, 2, 2), "RAS")]) == [(60, 50, 20)]


def test_what_was_cut_away_on_average_is_cut_away() -> None:
    """A half of the first side of one, and all of it of another: three quarters."""
    whole = lying((100, 80, 40), (1, 1, 1), "RAS")
    done = [Record(whole, lying((50, 80, 40), (1, 1, 1), "RAS"), cut=True), Record(whole, whole)]
    assert foreseen(done, [lying((200, 40, 40), (1, 1, 1), "RAS")]) == [(150, 40, 40)]


@pytest.mark.parametrize("code", ["RAS", "LPI", "PIR", "SAL"])
def test_axes_are_turned_as_of_those_that_were_prepared(code: str) -> None:
    done = Record(lying((10, 20, 30), (1, 1, 1), "PIR"), lying((10, 20, 30), (1, 1, 1), "RAS"))
    flat = Geometry((40, 50, 60), np.diag([1.0, 2.0, 3.0, 1.0]))
    assert foreseen([done], [flat.oriented(code)[0]]) == [(40, 50, 60)]


def test_nothing_becomes_smaller_than_a_voxel() -> None:
    done = Record(lying((10, 10, 10), (1, 1, 1), "RAS"), lying((1, 1, 1), (10, 10, 10), "RAS"))
    assert foreseen([done], [lying((2, 2, 2), (1, 1, 1), "RAS")]) == [(1, 1, 1)]
