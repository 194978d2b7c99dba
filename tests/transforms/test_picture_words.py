"""Short words for pictures: what they do to grey images, sectors of ultrasound and colours."""

import numpy as np
import pytest

from medssl.data.geometry import Geometry
from medssl.data.volume import Volume
from medssl.transforms.chain import Preprocess
from medssl.transforms.compose import Preparation

GRID = Geometry((20, 16, 1), np.diag([0.5, 0.5, 1.0, 1.0]))


def prepared(chain, array):
    return Preparation(Preprocess.of(chain))(Volume(array.astype(np.float32), GRID, "a.png"))


def test_a_radiograph_is_scaled_by_all_of_its_pixels():
    array = np.random.default_rng(0).integers(0, 4000, (1, *GRID.shape))
    found = prepared({"radiograph": {"clip": [0, 100]}}, array).image
    assert found.mean() == pytest.approx(0, abs=1e-5)
    assert found.std() == pytest.approx(1, abs=1e-5)


def test_the_black_around_a_sector_of_ultrasound_does_not_count():
    array = np.zeros((1, *GRID.shape))
    array[0, 5:15] = np.random.default_rng(0).integers(50, 200, (10, 16, 1))
    found = prepared({"ultrasound": {"clip": [0, 100]}}, array).image[0]
    assert found[5:15].mean() == pytest.approx(0, abs=1e-5)
    assert (found[:5] == found.min()).all()


def test_colours_keep_their_proportions():
    array = np.random.default_rng(0).integers(0, 256, (3, *GRID.shape))
    np.testing.assert_allclose(prepared("rgb", array).image, array / 255, atol=1e-6)
    deep = prepared({"rgb": {"range": [0, 65535]}}, 257 * array).image
    np.testing.assert_allclose(deep, array / 255, atol=1e-6)


@pytest.mark.parametrize("word", ["radiograph", "ultrasound", "rgb"])
def test_two_sides_resample_a_picture_in_its_plane(word):
    array = np.random.default_rng(0).integers(0, 256, (1, *GRID.shape))
    found = prepared({word: {"spacing": [1.0, 1.0]}}, array)
    assert found.image.shape == (1, 10, 8, 1)
    assert found.record.network.spacing == pytest.approx((1.0, 1.0, 1.0))
    assert prepared(word, array).image.shape == (1, *GRID.shape)


def test_what_is_no_range_is_refused():
    with pytest.raises(ValueError, match=r"rgb\.range.*goes from a number to a larger one"):
        Preprocess.of({"rgb": {"range": [5, 5]}})
