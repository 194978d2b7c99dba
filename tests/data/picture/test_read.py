"""Pictures as volumes one voxel thick: every format, depth and kind of colour."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from medssl.data.picture.picture import upright
from medssl.data.picture.read import read_picture
from medssl.data.volume import read_geometry, read_mask, read_volume, write_mask, write_volume
from medssl.errors import DataError, UsageError

ROWS, COLUMNS = 5, 7
GREY = np.arange(ROWS * COLUMNS, dtype=np.uint8).reshape(ROWS, COLUMNS)
RGB = np.stack([GREY, 2 * GREY, 200 - GREY], axis=-1)


def saved(path: Path, array: np.ndarray, **how: object) -> Path:
    Image.fromarray(array).save(path, **how)
    return path


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif", ".TIFF"])
def test_a_grey_picture_is_a_volume_one_voxel_thick(tmp_path, ending):
    volume = read_volume(saved(tmp_path / f"a{ending}", GREY))
    assert volume.array.shape == (1, COLUMNS, ROWS, 1)
    assert (volume.array[0, :, :, 0] == GREY.T).all()
    assert volume.geometry.spacing == (1.0, 1.0, 1.0)


def test_sixteen_bits_stay(tmp_path):
    deep = GREY.astype(np.uint16) * 1000
    for name in ("a.png", "a.tif"):
        assert (read_volume(saved(tmp_path / name, deep)).array[0, :, :, 0] == deep.T).all()
    tifffile.imwrite(tmp_path / "colour.tif", RGB.astype(np.uint16) * 300, photometric="rgb")
    found = read_volume([tmp_path / "colour.tif"] * 3).array
    assert (found[..., 0] == 300 * RGB.astype(int).transpose(2, 1, 0)).all()


def test_sixteen_bits_of_every_colour_of_a_png_stay(tmp_path):
    from imagecodecs import png_encode

    deep = RGB.astype(np.uint16) * 300
    (tmp_path / "a.png").write_bytes(png_encode(deep))
    assert (read_volume([tmp_path / "a.png"] * 3).array[..., 0] == deep.transpose(2, 1, 0)).all()


def test_a_jpeg_is_read_as_viewers_turn_it(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the first column is the top row
    large = np.kron(GREY, np.ones((8, 8), np.uint8)) * 6
    path = saved(tmp_path / "a.jpg", large, exif=exif, quality=100)
    found = read_picture(path).pixels[0, ..., 0].astype(int)
    assert found.shape == (8 * COLUMNS, 8 * ROWS)
    assert np.abs(found - np.rot90(large, -1)).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_orientations_are_those_of_pillow(orientation):
    from PIL import ImageOps

    image = Image.fromarray(GREY)
    image.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    assert (upright(GREY[None, ..., None], orientation)[0, ..., 0] == expected).all()


def test_the_number_of_channels_asked_for_says_grey_or_colour(tmp_path):
    path = saved(tmp_path / "a.png", RGB)
    colour = read_volume([path] * 3)
    assert (colour.array[..., 0] == RGB.transpose(2, 1, 0)).all()
    grey = read_volume(path).array[0, :, :, 0]
    assert np.allclose(grey, (RGB @ [0.299, 0.587, 0.114]).T, atol=1e-3)
    assert (read_volume([saved(tmp_path / "g.png", GREY)] * 3).array == GREY.T[..., None]).all()
    with pytest.raises(DataError, match=r"a\.png has 3 channels instead of 2"):
        read_volume([path] * 2)


def test_transparency_must_be_none(tmp_path):
    full = np.full((ROWS, COLUMNS, 1), 255, np.uint8)
    path = saved(tmp_path / "a.png", np.concatenate([RGB, full], axis=-1))
    assert (read_volume([path] * 3).array[..., 0] == RGB.transpose(2, 1, 0)).all()
    saved(path, np.concatenate([RGB, full // 2], axis=-1))
    with pytest.raises(DataError, match="transparent in places"):
        read_volume([path] * 3)


def test_pages_of_a_tiff_are_frames(tmp_path):
    pages = np.stack([GREY, GREY + 1, GREY + 2])
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack")
    volume = read_volume(tmp_path / "a.tif")
    assert volume.geometry.shape == (COLUMNS, ROWS, 3)
    assert (volume.array[0] == pages.transpose(2, 1, 0)).all()


def test_pages_of_several_sizes_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(GREY)
        file.write(GREY[:3])
    with pytest.raises(DataError, match="2 pictures of several sizes"):
        read_volume(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp"])
def test_the_sides_of_pixels_are_those_that_the_file_says(tmp_path, name):
    saved(tmp_path / name, GREY, dpi=(254, 127))  # 0.1 mm along rows, 0.2 mm down columns
    assert read_geometry(tmp_path / name).spacing == pytest.approx((0.1, 0.2, 1), rel=1e-3)
    saved(tmp_path / name, GREY, dpi=(96, 96))  # what is written without a meaning
    assert read_geometry(tmp_path / name).spacing == (1, 1, 1)


@pytest.mark.parametrize(
    ("unit", "side"), [("mm", 0.5), ("um", 5e-4), ("micron", 5e-4), ("", 1), ("pixel", 1)]
)
def test_a_tiff_without_a_unit_of_its_own_has_that_of_imagej_or_none(tmp_path, unit, side):
    said = {"imagej": True, "metadata": {"unit": unit}} if unit else {"resolutionunit": "NONE"}
    tifffile.imwrite(tmp_path / "a.tif", GREY, resolution=(2, 2), **said)
    assert read_geometry(tmp_path / "a.tif").spacing == pytest.approx((side, side, 1))


def test_damage_is_told(tmp_path):
    path = saved(tmp_path / "a.png", np.random.default_rng(0).integers(0, 255, (99, 99), np.uint8))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"a\.png cannot be read; it is truncated, damaged"):
        read_volume(path)
    (tmp_path / "b.tif").write_bytes(b"II*\x00" + bytes(40))
    with pytest.raises(DataError, match=r"b\.tif cannot be read"):
        read_volume(tmp_path / "b.tif")
    (tmp_path / "c.jpg").touch()
    with pytest.raises(DataError, match=r"c\.jpg is empty"):
        read_volume(tmp_path / "c.jpg")


def test_masks_come_back_with_the_size_and_scale_of_their_image(tmp_path):
    image = read_volume(saved(tmp_path / "a.png", GREY, dpi=(254, 127)))
    mask = (image.array[0] > 9).astype(np.uint8) * 200
    for name in ("m.png", "m.tif"):
        write_mask(mask, image.geometry, tmp_path / name)
        found = read_mask(tmp_path / name)
        assert (found.array[0] == mask).all()
        assert found.geometry.spacing == pytest.approx(image.geometry.spacing, rel=1e-3)
    assert Image.open(tmp_path / "m.png").size == (COLUMNS, ROWS)


def test_maps_and_frames_are_written_as_tiff(tmp_path):
    stack = np.random.default_rng(0).random((COLUMNS, ROWS, 3)).astype(np.float32)
    frames = np.zeros((3, ROWS, COLUMNS), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", frames, photometric="minisblack")
    grid = read_geometry(tmp_path / "a.tif")
    write_volume(stack, grid, tmp_path / "map.tif")
    assert (read_volume(tmp_path / "map.tif").array[0] == stack).all()
    with pytest.raises(UsageError, match=r"end in \.png\.zip, .*, or in \.tif"):
        write_mask(stack.astype(np.uint8), grid, tmp_path / "mask.png")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.tif", "map.tif"]


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.dcm"])
def test_what_is_no_file_is_told(tmp_path, name):
    with pytest.raises(DataError, match=rf"{name} is no file"):
        read_picture(tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=rf"{name} is no file"):
        read_picture(tmp_path / name)


def test_a_tiff_that_counts_from_white_is_turned_round(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="miniswhite")
    assert (read_volume(tmp_path / "a.tif").array[0, :, :, 0] == 255 - GREY.T).all()
    tifffile.imwrite(tmp_path / "b.tif", GREY.astype(np.int16), photometric="miniswhite")
    with pytest.raises(DataError, match="counts from white, in values of the type int16"):
        read_picture(tmp_path / "b.tif")


@pytest.mark.parametrize(("mode", "kind"), [("CMYK", "SEPARATED"), ("YCbCr", "YCBCR")])
def test_colours_of_another_kind_than_rgb_are_refused_not_taken_for_it(tmp_path, mode, kind):
    Image.fromarray(RGB).convert(mode).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=f"a.tif holds colours of the kind {kind}"):
        read_picture(tmp_path / "a.tif")
