"""Radiographs from files to crops: Semixup's geometry, DICOM's ways to say things, bad files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medssl.data.radiograph.image import Radiograph, side_of
from medssl.data.radiograph.read import (
    is_radiograph,
    make_crops,
    normalise,
    read_radiograph,
    stem,
)
from medssl.data.radiograph.settings import CropSettings
from medssl.errors import DataError
from tests.data.conftest import write_dicom

PAPER = CropSettings(percentiles=(0, 100))
KNEE = CropSettings(
    field=None, grid=128, rows=(42, 98), columns=56, side=56, percentiles=(0, 100), mirror="none"
)


def ramp(axis: int, side: int = 700) -> np.ndarray:
    """[side, side] whose value is the row, or the column, of the pixel."""
    return np.indices((side, side))[axis].astype(np.float32)


def mean_of_ramp(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Mean over [low, high) of the function that is k from k to k + 1."""

    def area(x: np.ndarray) -> np.ndarray:
        k = np.floor(x)
        return k * (k - 1) / 2 + (x - k) * k

    return (area(high) - area(low)) / (high - low)


def test_check_11_the_papers_crops_lie_where_the_sheet_says() -> None:
    # 140 mm at 0.2 mm; the middle 110 mm begin at pixel 75; 300 pixels of 550 / 300 each.
    edges = 75 + np.arange(301) * 550 / 300
    values = mean_of_ramp(edges[:-1], edges[1:]) * 255 / 699
    across = make_crops(Radiograph("", ramp(1), (0.2, 0.2), "R"), PAPER)
    assert across.shape == (2, 128, 128)
    np.testing.assert_allclose(across[0, 0], values[:128], atol=0.51)
    np.testing.assert_allclose(across[1, 0], values[172:][::-1], atol=0.51)
    down = make_crops(Radiograph("", ramp(0), (0.2, 0.2), "R"), PAPER)
    for crop in down:
        np.testing.assert_allclose(crop[:, 0], values[100:228], atol=0.51)


def test_mm_count_whatever_the_pixels_are() -> None:
    fine = make_crops(Radiograph("", ramp(1), (0.2, 0.2), "R"), PAPER).astype(int)
    coarse = make_crops(Radiograph("", ramp(1, 350)[::2], (0.8, 0.4), "R"), PAPER).astype(int)
    assert np.abs(fine - coarse).max() <= 2


def test_check_11_a_left_knee_and_its_mirror_image_called_right_give_the_same() -> None:
    pixels = np.random.default_rng(0).normal(size=(90, 70)).astype(np.float32)
    left = make_crops(Radiograph("", pixels, (2, 2), "L"), PAPER)
    right = make_crops(Radiograph("", pixels[:, ::-1], (2, 2), "R"), PAPER)
    np.testing.assert_array_equal(left, right)
    unturned = PAPER.model_copy(update={"mirror": "none"})
    assert (make_crops(Radiograph("", pixels, (2, 2), "L"), unturned) != left).any()


def test_a_grid_that_is_the_images_own_cuts_its_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (128, 128)).astype(np.float32)
    pixels[0, 0], pixels[0, 1] = 0, 255
    lateral, medial = make_crops(Radiograph("", pixels), KNEE)
    np.testing.assert_array_equal(lateral, pixels[42:98, :56])
    np.testing.assert_array_equal(medial, pixels[42:98, 72:][:, ::-1])


def test_the_whole_image_is_shown_in_a_square_with_black_beside_it() -> None:
    pixels = np.full((4, 8), 200, np.float32)
    pixels[0, 0] = 0
    whole = CropSettings(mode="whole", field=None, side=8, percentiles=(0, 100))
    (crop,) = make_crops(Radiograph("", pixels), whole)
    np.testing.assert_array_equal(crop[2:6], np.where(pixels == 200, 255, 0))
    assert not crop[:2].any()
    assert not crop[6:].any()


def test_percentiles_become_black_and_white() -> None:
    pixels = np.arange(101, dtype=np.float32).reshape(1, 101)
    found = normalise(Radiograph("", pixels), (5, 99))
    assert (found[0, :6] == 0).all()
    assert (found[0, 99:] == 255).all()
    np.testing.assert_allclose(found[0, 52], (52 - 5) / 94 * 255, rtol=1e-6)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Radiograph("a.png", np.eye(9, dtype=np.float32), (1, 1)), "left or the right side"),
        (Radiograph("a.png", np.eye(9, dtype=np.float32), None, "L"), "pixel spacing"),
    ],
)
def test_what_a_file_does_not_say_is_asked_for(image: Radiograph, message: str) -> None:
    with pytest.raises(DataError, match=f"a.png does not say .*{message}"):
        make_crops(image, PAPER)


def test_an_image_that_shows_nothing_is_refused() -> None:
    pixels = np.zeros((20, 20), np.float32)
    pixels[0, 0] = 1
    with pytest.raises(DataError, match="shows nothing"):
        normalise(Radiograph("a.png", pixels), (5, 99))


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4096, (6, 5)).astype(np.uint16)


def test_monochrome1_is_inverted(tmp_path: Path, values: np.ndarray) -> None:
    upright = read_radiograph(write_dicom(tmp_path / "2.dcm", values))
    np.testing.assert_array_equal(upright.pixels, values)
    kind = {"PhotometricInterpretation": "MONOCHROME1"}
    inverted = read_radiograph(write_dicom(tmp_path / "1.dcm", values, **kind))
    np.testing.assert_array_equal(inverted.pixels, values.max() - values.astype(float))


def test_the_rescaling_of_the_header_is_done(tmp_path: Path, values: np.ndarray) -> None:
    tags = {"RescaleSlope": 2, "RescaleIntercept": -100}
    found = read_radiograph(write_dicom(tmp_path / "a.dcm", values, **tags))
    np.testing.assert_array_equal(found.pixels, 2.0 * values - 100)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16])
def test_dicom_has_pixels_of_8_or_16_bits(tmp_path: Path, values: np.ndarray, kind: type) -> None:
    given = (values % 256).astype(kind)
    given = given - kind(100) if kind is np.int16 else given
    found = read_radiograph(write_dicom(tmp_path / "IM0001", given))  # no suffix
    assert found.pixels.dtype == np.float32
    np.testing.assert_array_equal(found.pixels, given)


@pytest.mark.parametrize(
    ("tags", "spacing"),
    [
        ({"PixelSpacing": [0.1, 0.2]}, (0.1, 0.2)),
        ({"ImagerPixelSpacing": [0.3, 0.4]}, (0.3, 0.4)),
        ({"PixelSpacing": [0.1, 0.2], "ImagerPixelSpacing": [0.3, 0.4]}, (0.1, 0.2)),
        ({"PixelSpacing": [0.0, 0.0]}, None),
        ({}, None),
    ],
)
def test_spacing_is_the_calibrated_one_else_the_detectors(
    tmp_path: Path, values: np.ndarray, tags: dict, spacing: tuple | None
) -> None:
    assert read_radiograph(write_dicom(tmp_path / "a.dcm", values, **tags)).spacing == spacing


@pytest.mark.parametrize(
    ("tags", "side"),
    [
        ({"ImageLaterality": "L"}, "L"),
        ({"Laterality": "R"}, "R"),
        ({"ImageLaterality": "R", "Laterality": "L"}, "R"),
        ({"ImageLaterality": "B"}, None),
        ({}, None),
    ],
)
def test_the_side_comes_from_either_tag(
    tmp_path: Path, values: np.ndarray, tags: dict, side: str | None
) -> None:
    assert read_radiograph(write_dicom(tmp_path / "a.dcm", values, **tags)).side == side


def test_sides_have_several_spellings() -> None:
    assert [side_of(word) for word in ("l", " Left", "R", "RIGHT", "both", "")] == [
        "L", "L", "R", "R", None, None,
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_png_has_8_or_16_bits(tmp_path: Path, values: np.ndarray, kind: type) -> None:
    given = values.astype(kind)
    Image.fromarray(given).save(tmp_path / "a.png")
    found = read_radiograph(tmp_path / "a.png")
    np.testing.assert_array_equal(found.pixels, given)
    assert (found.spacing, found.side) == (None, None)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_grey_pictures_may_be_stored_in_colour(
    tmp_path: Path, values: np.ndarray, mode: str
) -> None:
    grey = Image.fromarray(values.astype(np.uint8))
    grey.convert(mode).save(tmp_path / "a.png")
    found = read_radiograph(tmp_path / "a.png")
    np.testing.assert_array_equal(found.pixels, np.asarray(grey))


def make_missing(path: Path, values: np.ndarray) -> Path:
    return path / "nowhere.dcm"


def make_text(path: Path, values: np.ndarray) -> Path:
    (path / "a.dcm").write_text("no image")
    return path / "a.dcm"


def make_broken_png(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(
        path / "a.png"
    )
    (path / "a.png").write_bytes((path / "a.png").read_bytes()[:1000])
    return path / "a.png"


def make_colour(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(np.stack([values % 256] * 2 + [0 * values], -1).astype(np.uint8)).save(
        path / "a.png"
    )
    return path / "a.png"


def make_constant(path: Path, values: np.ndarray) -> Path:
    return write_dicom(path / "a.dcm", np.full_like(values, 7))


def make_film(path: Path, values: np.ndarray) -> Path:
    return write_dicom(path / "a.dcm", values, NumberOfFrames=3)


def make_palette(path: Path, values: np.ndarray) -> Path:
    return write_dicom(path / "a.dcm", values, PhotometricInterpretation="PALETTE COLOR")


def make_header_alone(path: Path, values: np.ndarray) -> Path:
    return write_dicom(path / "a.dcm", values, PixelData=None)


def make_short(path: Path, values: np.ndarray) -> Path:
    return write_dicom(path / "a.dcm", values, PixelData=b"\0" * 8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_missing, "does not exist"),
        (make_text, "neither DICOM, PNG nor JPEG"),
        (make_broken_png, "truncated, damaged"),
        (make_colour, "is in colour"),
        (make_constant, "the value 7 in every pixel"),
        (make_film, "has 3 frames"),
        (make_palette, "PALETTE COLOR"),
        (make_header_alone, "DICOM without pixel data"),
        (make_short, "cannot be decoded"),
    ],
)
def test_files_that_cannot_be_used_are_named_and_nobody_else_is(
    tmp_path: Path,
    values: np.ndarray,
    make: Callable[[Path, np.ndarray], Path],
    message: str,
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
) -> None:
    path = make(tmp_path, values)
    with pytest.raises(DataError, match=message) as caught:
        read_radiograph(path)
    said = f"{caught.value}{caplog.text}{[str(warning.message) for warning in recwarn]}"
    assert path.name in said
    assert "Doe" not in said
    assert "4711" not in said


def test_names_tell_radiographs_from_other_files() -> None:
    names = ["a.png", "b.DCM", "IM0001", "1.2.840.17", ".hidden.png", "DICOMDIR", "labels.csv"]
    assert [is_radiograph(Path(name)) for name in names] == [True] * 4 + [False] * 3
    assert [stem(Path(name)) for name in names[:4]] == ["a", "b", "IM0001", "1.2.840.17"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"rows": (10, 400)}, "outside a grid"),
        ({"rows": (20, 10)}, "outside a grid"),
        ({"percentiles": (99, 5)}, "percentiles rise"),
        ({"mode": "whole", "columns": 3}, "of the joint crops"),
    ],
)
def test_crops_that_cannot_be_are_refused(keys: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CropSettings.model_validate(keys)


def test_joints_are_mirrored_by_default_and_whole_images_are_not() -> None:
    assert CropSettings().mirrored == "L"
    assert CropSettings(mode="whole").mirrored is None
    assert CropSettings(mode="whole", mirror="right").mirrored == "R"
    assert CropSettings(mirror="none").mirrored is None
