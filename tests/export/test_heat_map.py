import io

import numpy as np
import pytest
from PIL import Image

from medssl.export.heat_map import _cover, draw_heat_map, heat_colours

PLACES = np.array([[0, 0], [100, 0], [0, 100]])


def test_tiles_lie_where_they_belong():
    """A slide of 400 x 200 on a thumbnail of 40 x 20: ten level-0 pixels each."""
    cover = _cover((20, 40), (400, 200), PLACES, 100, np.array([0.2, 0.9, 0.5]))
    for (x, y), value in zip(PLACES // 10, [0.2, 0.9, 0.5], strict=True):
        assert (cover[y : y + 10, x : x + 10, :3] == heat_colours(value)).all()
        assert (cover[y : y + 10, x : x + 10, 3] > 0).all()
    assert (cover[10:, 10:, 3] == 0).all()
    assert (cover[:, 20:, 3] == 0).all()


def test_the_lowest_tile_does_not_vanish():
    cover = _cover((20, 40), (400, 200), PLACES, 100, np.array([0.0, 0.5, 1.0]))
    assert (cover[:10, :10, 3] > 0).all()


def test_colours_mean_the_same_on_every_slide():
    """They are not stretched between a slide's lowest and highest value."""
    weak = _cover((1, 2), (20, 10), np.array([[0, 0], [10, 0]]), 10, np.array([0.1, 0.2]))
    strong = _cover((1, 2), (20, 10), np.array([[0, 0], [10, 0]]), 10, np.array([0.2, 0.9]))
    assert (weak[0, 1] == strong[0, 0]).all()


def test_tiles_without_value_leave_the_slide_untouched():
    cover = _cover((20, 40), (400, 200), PLACES, 100, np.array([np.nan, 0.9, 0.5]))
    assert (cover[:10, :10] == 0).all()


def test_small_tiles_do_not_vanish_and_the_greatest_shows():
    """Sixteen tiles share one pixel of the thumbnail."""
    places = np.stack(np.meshgrid(range(4), range(4)), axis=-1).reshape(-1, 2) * 10
    values = np.linspace(0, 0.9, 16)
    cover = _cover((1, 1), (40, 40), places, 10, values)
    assert (cover[0, 0, :3] == heat_colours(0.9)).all()


@pytest.mark.parametrize("shape", [(60, 40, 3), (40, 90, 3)])
def test_the_picture_is_a_png_of_readable_size(shape):
    thumbnail = np.full(shape, 240, np.uint8)
    size = (shape[1] * 10, shape[0] * 10)
    outline = np.array([[50, 50], [150, 50], [100, 150]])
    png = draw_heat_map(thumbnail, size, PLACES, 100, np.array([0, 0.5, 1]), outlines=[outline])
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.format == "PNG"
        assert 500 < max(picture.size) <= 1110


def test_values_colour_the_picture():
    thumbnail = np.full((40, 40, 3), 255, np.uint8)

    def drawn(value: float) -> np.ndarray:
        png = draw_heat_map(thumbnail, (400, 400), np.array([[0, 0]]), 200, np.array([value]))
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)

    assert (drawn(0.0) == drawn(0.0)).all()
    differs = (drawn(0.0) != drawn(1.0)).any(axis=2)
    assert 0.05 < differs.mean() < 0.3  # a quarter of the right-hand picture


@pytest.mark.parametrize(
    ("places", "values", "thumbnail"),
    [
        (PLACES, [0.1, 0.2, 1.5], np.zeros((9, 9, 3), np.uint8)),
        (PLACES, [0.1, 0.2, np.inf], np.zeros((9, 9, 3), np.uint8)),
        (PLACES, [0.1, 0.2], np.zeros((9, 9, 3), np.uint8)),
        (PLACES, [0.1, 0.2, 0.3], np.zeros((9, 9), np.uint8)),
        (PLACES, [0.1, 0.2, 0.3], np.zeros((9, 9, 3))),
    ],
)
def test_what_does_not_fit_is_refused(places, values, thumbnail):
    with pytest.raises(ValueError, match=r"value|picture"):
        draw_heat_map(thumbnail, (90, 90), places, 10, np.array(values))
