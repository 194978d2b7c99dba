"""PNG and JPEG radiographs: what a viewer shows, or a sentence."""

from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageOps

from medssl.data.radiograph.picture import read_picture
from medssl.data.radiograph.read import read_radiograph
from medssl.errors import DataError
from tests.data.conftest import crops_of, read_or_named

ORIENTATION = 0x0112
GREY = np.arange(30, dtype=np.uint8).reshape(5, 6) * 8


def turned(path: Path, orientation: int, mode: str = "L") -> Path:
    """GREY in a file whose EXIF data say how it is to be turned."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    deep = Image.fromarray(GREY.astype(np.uint16) * 256)
    (deep if mode == "I;16" else Image.fromarray(GREY).convert(mode)).save(path, exif=exif)
    return path


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, GREY),
        (2, GREY[:, ::-1]),
        (3, GREY[::-1, ::-1]),
        (4, GREY[::-1]),
        (5, GREY.T),
        (6, np.rot90(GREY, -1)),
        (7, np.rot90(GREY, 2).T),
        (8, np.rot90(GREY)),
    ],
)
@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_pictures_are_turned_as_their_exif_data_say(
    tmp_path: Path, orientation: int, upright: np.ndarray, mode: str
) -> None:
    found = read_radiograph(turned(tmp_path / "a.png", orientation, mode)).pixels
    np.testing.assert_array_equal(found / (256 if mode == "I;16" else 1), upright)


def test_a_jpeg_is_turned_as_another_reader_turns_it(tmp_path: Path) -> None:
    path = turned(tmp_path / "a.jpg", 6)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert expected.shape == (6, 5)
    np.testing.assert_array_equal(read_radiograph(path).pixels, expected)


def test_crops_are_of_the_turned_picture(tmp_path: Path) -> None:
    whole = {"radiograph": {"field": None, "side": 12, "percentiles": (0, 100)}}
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    lying = np.zeros((4, 12), np.uint8)
    lying[:, :2] = 255  # the left end becomes the top
    Image.fromarray(lying).save(tmp_path / "a.png", exif=exif)
    (crop,) = crops_of(read_radiograph(tmp_path / "a.png"), whole)
    assert (crop[:2, 4:8] == 255).all()
    assert not crop[2:].any()


def save_colour(path: Path) -> str:
    Image.fromarray(np.stack([GREY, GREY, GREY // 2], -1)).save(path)
    return "is in colour"


def save_colour_palette(path: Path) -> str:
    image = Image.fromarray(GREY).convert("P")
    image.putpalette([value for one in range(256) for value in (one, 0, one)])
    image.save(path)
    return "is in colour"


def save_deep_colour(path: Path) -> str:
    path.write_bytes(imagecodecs.png_encode(np.stack([GREY.astype(np.uint16) * 200] * 3, -1)))
    return "16 bits of every colour"


def save_deep_alpha(path: Path) -> str:
    deep = GREY.astype(np.uint16) * 200
    path.write_bytes(imagecodecs.png_encode(np.stack([deep, 0 * deep + 65535], -1)))
    return "16 bits of every colour"


def save_half_transparent(path: Path) -> str:
    Image.fromarray(np.stack([GREY, GREY], -1), "LA").save(path)
    return "is transparent in places"


def save_transparent_colour(path: Path) -> str:
    Image.fromarray(GREY).save(path, transparency=8)
    return "is transparent in places"


def save_animation(path: Path) -> str:
    first, second = Image.fromarray(GREY), Image.fromarray(255 - GREY)
    first.save(path, save_all=True, append_images=[second])
    return "it holds 2 pictures"


def save_pages(path: Path) -> str:
    Image.fromarray(GREY).save(path, format="TIFF")
    return "neither DICOM, PNG nor JPEG"


def save_script(path: Path) -> str:
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    return "neither DICOM, PNG nor JPEG"


def save_nothing(path: Path) -> str:
    path.touch()
    return "it is empty"


def save_one_pixel(path: Path) -> str:
    Image.fromarray(GREY[:1, 1:2]).save(path)
    return "the value 8 in every pixel"


def save_bomb(path: Path) -> str:
    """A few hundred bytes that say they are 30,000 x 30,000 pixels."""
    import struct
    import zlib

    Image.fromarray(GREY).save(path)
    head = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    content = bytearray(path.read_bytes())
    content[12:33] = head + struct.pack(">I", zlib.crc32(head))
    path.write_bytes(content)
    return "too large for a radiograph"


@pytest.mark.parametrize(
    "save",
    [
        save_colour,
        save_colour_palette,
        save_deep_colour,
        save_deep_alpha,
        save_half_transparent,
        save_transparent_colour,
        save_animation,
        save_pages,
        save_script,
        save_nothing,
        save_one_pixel,
        save_bomb,
    ],
)
def test_what_cannot_be_read_whole_is_named(tmp_path: Path, save: Callable[[Path], str]) -> None:
    message = save(tmp_path / "a.png")
    with pytest.raises(DataError, match=f"a.png .*{message}"):
        read_radiograph(tmp_path / "a.png")


def test_the_stated_limit_lies_below_what_pillow_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medssl.data.radiograph.image.LARGEST", 29)
    Image.fromarray(GREY).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a.png .*6 x 5 pixels"):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_grey_in_four_planes_is_grey(tmp_path: Path, suffix: str) -> None:
    """CMYK with nothing but black; a JPEG of an even picture loses nothing."""
    black = 255 - np.repeat(np.repeat(np.array([[40, 200]], np.uint8), 16, 0), 16, 1)
    planes = np.stack([0 * black] * 3 + [black], -1)
    image = Image.fromarray(planes, "CMYK")
    (image if suffix == "jpg" else image.convert("RGB")).save(tmp_path / f"a.{suffix}", quality=100)
    found = read_radiograph(tmp_path / f"a.{suffix}").pixels
    np.testing.assert_allclose(found, 255.0 - black, atol=1)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_damaged_pictures_are_named_wherever_the_damage_is(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (24, 24), np.uint8)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(noise).save(path, exif=exif)
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    broken = [whole[:length] for length in range(0, len(whole), 7)]
    for _ in range(150):
        changed = bytearray(whole)
        changed[int(rng.integers(len(whole)))] = int(rng.integers(256))
        broken.append(bytes(changed))
    for content in broken:
        path.write_bytes(content)
        assert read_or_named(path)
