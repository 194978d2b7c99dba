"""Masks that are pictures: numbers, palettes, and colours that labels declare."""

import numpy as np
import pytest
from PIL import Image

from medssl.data.labels import Label
from medssl.data.picture.mask import UnknownColour, colours_of
from medssl.data.volume import read_geometry, read_mask
from medssl.errors import DataError

VALUES = np.array([[0, 1, 1], [2, 0, 1]], np.uint8)
RED_AND_BLUE = (
    Label(value=1, name="lesion", colour="#ff0000"),
    Label(value=2, name="vessel", colour=[0, 0, 255]),
)


def coloured(values):
    return np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)[values]


def test_numbers_of_a_grey_picture_are_values(tmp_path):
    Image.fromarray(VALUES).save(tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png").array[0, :, :, 0] == VALUES.T).all()
    Image.fromarray(np.repeat(VALUES[..., None], 3, axis=2)).save(tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png").array[0, :, :, 0] == VALUES.T).all()


def test_a_palette_gives_its_numbers_or_where_labels_have_colours_its_colours(tmp_path):
    image = Image.fromarray(VALUES)
    image.putpalette([0, 0, 0, 0, 0, 255, 255, 0, 0])  # 1 is blue, 2 is red
    image.save(tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png").array[0, :, :, 0] == VALUES.T).all()
    swapped = np.array([0, 2, 1])[VALUES]
    found = read_mask(tmp_path / "m.png", RED_AND_BLUE)
    assert (found.array[0, :, :, 0] == swapped.T).all()


def test_declared_colours_become_the_values_of_their_labels(tmp_path):
    Image.fromarray(coloured(VALUES)).save(tmp_path / "m.png")
    found = read_mask(tmp_path / "m.png", RED_AND_BLUE)
    assert found.array.dtype == np.uint8
    assert (found.array[0, :, :, 0] == VALUES.T).all()
    assert colours_of(tmp_path / "m.png") == ("#0000ff", "#ff0000")


def test_an_undeclared_colour_is_named_with_the_nearest(tmp_path):
    rgb = coloured(VALUES)
    rgb[0, 0] = (250, 3, 0)
    Image.fromarray(rgb).save(tmp_path / "m.png")
    words = r"m\.png holds the colour #fa0300 \(1 pixels\), .* nearest is #ff0000 of 'lesion'"
    with pytest.raises(UnknownColour, match=words):
        read_mask(tmp_path / "m.png", RED_AND_BLUE)
    with pytest.raises(DataError, match=r"is a mask in colours; .* e\.g\. colour: '#ff0000'"):
        read_mask(tmp_path / "m.png")


def test_a_mask_in_jpeg_is_told_to_be_saved_otherwise(tmp_path):
    Image.fromarray(np.kron(coloured(VALUES), np.ones((5, 5, 1), np.uint8))).save(
        tmp_path / "m.jpg"
    )
    with pytest.raises(UnknownColour, match="JPEG changes colours; save the mask as PNG"):
        read_mask(tmp_path / "m.jpg", RED_AND_BLUE)


def test_a_mask_of_the_size_of_its_image_lies_on_it_whatever_scale_it_says(tmp_path):
    Image.fromarray(VALUES).save(tmp_path / "image.png", dpi=(254, 254))
    Image.fromarray(VALUES).save(tmp_path / "mask.png", dpi=(300, 300))
    grid = read_geometry(tmp_path / "image.png")
    assert read_mask(tmp_path / "mask.png", on=grid).geometry.matches(grid)
    Image.fromarray(VALUES[:, :2]).save(tmp_path / "mask.png")
    assert not read_mask(tmp_path / "mask.png", on=grid).geometry.matches(grid)


@pytest.mark.parametrize(
    ("colour", "sentence"),
    [("red", "a colour is written '#ff0000'"), ("#000000", "black is background")],
)
def test_what_is_no_colour_is_refused(colour, sentence):
    with pytest.raises(ValueError, match=sentence):
        Label(value=1, name="a", colour=colour)
