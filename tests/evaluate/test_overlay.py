import io

import numpy as np
import pytest
from matplotlib.image import imread

from medssl.data.geometry import Geometry
from medssl.evaluate.overlay import draw_overlay
from tests.evaluate.conftest import CLASSES, GRID, truth


def pixels(png: bytes) -> np.ndarray:
    return imread(io.BytesIO(png))[..., :3]


def amount(png: bytes, colour: str) -> int:
    """How many pixels have about that colour, half transparent or not, on black."""
    rgb = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return int((np.abs(pixels(png) - rgb).max(axis=-1) < 0.08).sum())


def test_truth_and_prediction_are_drawn_and_entropy_adds_a_panel():
    image = np.zeros(GRID.shape)
    with_entropy = draw_overlay(image, truth(), truth(), GRID, CLASSES, np.zeros(GRID.shape))
    without = draw_overlay(image, truth(), truth(), GRID, CLASSES)
    assert pixels(with_entropy).shape[1] > pixels(without).shape[1]
    assert amount(without, "#56B4E9") > amount(
        draw_overlay(image, truth(), np.zeros_like(truth()), GRID, CLASSES), "#56B4E9"
    )


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_empty_masks_and_constant_images_are_drawn(value):
    nothing = np.zeros(GRID.shape, np.uint8)
    png = draw_overlay(np.full(GRID.shape, value), nothing, nothing, GRID, CLASSES)
    assert png.startswith(b"\x89PNG")


def test_the_picture_does_not_depend_on_how_the_file_stores_its_axes():
    """The same patient stored as RAS and as PSL gives the same picture."""
    image = np.random.default_rng(0).random(GRID.shape)
    other, change = GRID.oriented("PSL")
    turned = [change.apply(array) for array in (image, truth(), np.roll(truth(), 1, 0))]
    there = draw_overlay(image, truth(), np.roll(truth(), 1, 0), GRID, CLASSES)
    assert draw_overlay(*turned, other, CLASSES) == there


def test_the_patients_left_is_on_the_right():
    """In RAS the first index grows to the patient's right: a bright right side is drawn left."""
    grid = Geometry((20, 20, 20), np.eye(4))
    image = np.zeros(grid.shape)
    image[10:] = 1
    nothing = np.zeros(grid.shape, np.uint8)
    drawn = pixels(draw_overlay(image, nothing, nothing, grid, CLASSES))
    axial = drawn[100:250, : drawn.shape[1] // 3].mean(axis=(0, 2))
    assert axial[: len(axial) // 2].mean() > 2 * axial[len(axial) // 2 :].mean()
