"""Radiographs from files to crops: Semixup's geometry, DICOM's ways to say things, bad files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medssl.data.radiograph.image import side_of
from medssl.data.radiograph.read import (
    is_radiograph,
    read_radiograph,
    stem,
)
from medssl.errors import DataError
from tests.data.conftest import write_dicom


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
