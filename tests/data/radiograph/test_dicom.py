"""DICOM radiographs: compressed ones as plain ones, and no value that is wrong in silence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate

from medssl.data.radiograph.read import read_radiograph
from medssl.errors import DataError
from tests.data.conftest import crops_of, read_or_named, write_dicom

NOISE = np.random.default_rng(0).integers(0, 4096, (20, 16)).astype(np.uint16)
RAMP = np.add.outer(np.arange(32) * 60, np.arange(40) * 40).astype(np.uint16)
BITS = {"BitsStored": 12, "HighBit": 11}


def compressed(path: Path, syntax: str, frame: bytes, like: np.ndarray, **tags: Any) -> Path:
    """A radiograph whose pixels are `frame`, of the size and type of `like`."""
    data = {"TransferSyntaxUID": syntax, "PixelData": encapsulate([frame])}
    return write_dicom(path, like, **(data | BITS | tags))


def lossless(pixels: np.ndarray) -> bytes:
    return bytes(imagecodecs.ljpeg_encode(pixels, bitspersample=12))


def twelve_bits(pixels: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(pixels, level=100, bitspersample=12))


def jpeg_ls(pixels: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpegls_encode(pixels))


def jpeg_2000(pixels: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True, level=0))


@pytest.mark.parametrize(
    ("syntax", "encode", "pixels"),
    [
        (uid.JPEGLosslessSV1, lossless, NOISE),
        (uid.JPEGLossless, lossless, NOISE),
        (uid.JPEGLSLossless, jpeg_ls, NOISE),
        (uid.JPEG2000Lossless, jpeg_2000, NOISE),
        (uid.JPEGExtended12Bit, twelve_bits, RAMP),  # so even that nothing is lost
    ],
)
def test_compressed_pixels_equal_plain_ones(
    tmp_path: Path, syntax: str, encode: Callable[[np.ndarray], bytes], pixels: np.ndarray
) -> None:
    tags = {"RescaleSlope": 2, "RescaleIntercept": -100, "ImagerPixelSpacing": [0.3, 0.3]}
    for kind in ("MONOCHROME1", "MONOCHROME2"):
        tags["PhotometricInterpretation"] = kind
        plain = read_radiograph(write_dicom(tmp_path / "plain.dcm", pixels, **BITS, **tags))
        packed = compressed(tmp_path / "packed.dcm", syntax, encode(pixels), pixels, **tags)
        found = read_radiograph(packed)
        np.testing.assert_array_equal(found.pixels, plain.pixels)
        assert found.spacing == plain.spacing == (0.3, 0.3)


def test_run_lengths_equal_plain_pixels(tmp_path: Path) -> None:
    header = pydicom.dcmread(write_dicom(tmp_path / "a.dcm", NOISE, **BITS))
    header.compress(uid.RLELossless, generate_instance_uid=False)
    header.save_as(tmp_path / "a.dcm")
    np.testing.assert_array_equal(read_radiograph(tmp_path / "a.dcm").pixels, NOISE)


def test_values_have_the_bits_that_are_stored(tmp_path: Path) -> None:
    """Old overlays lie in the bits above; a number of 12 bits may be negative."""
    above = write_dicom(tmp_path / "a.dcm", NOISE | 0x8000, **BITS)
    np.testing.assert_array_equal(read_radiograph(above).pixels, NOISE)
    signed = write_dicom(tmp_path / "b.dcm", NOISE, **BITS, PixelRepresentation=1)
    expected = np.where(NOISE < 2048, NOISE, NOISE - 4096.0)
    np.testing.assert_array_equal(read_radiograph(signed).pixels, expected)


@pytest.mark.parametrize("syntax", [uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEG2000Lossless])
def test_a_compressed_stream_that_was_cut_is_refused(tmp_path: Path, syntax: str) -> None:
    encode = {
        uid.JPEGLosslessSV1: lossless,
        uid.JPEGLSLossless: jpeg_ls,
        uid.JPEG2000Lossless: jpeg_2000,
    }[uid.UID(syntax)]
    frame = encode(NOISE)
    for share in (0.3, 0.6, 0.9):
        path = compressed(tmp_path / "a.dcm", syntax, frame[: int(len(frame) * share)], NOISE)
        with pytest.raises(DataError, match=r"a\.dcm cannot be decoded"):
            read_radiograph(path)


@pytest.mark.parametrize("field", [30.0, None])
@pytest.mark.parametrize(
    "tags",
    [
        {"ImagerPixelSpacing": [0.3, 0.15]},
        {"PixelSpacing": [0.3, 0.15]},
        {"PixelAspectRatio": [2, 1]},
    ],
)
def test_a_disc_is_round_whatever_the_field(
    tmp_path: Path, field: float | None, tags: dict[str, Any]
) -> None:
    if field is not None and "PixelAspectRatio" in tags:
        tags = tags | {"PixelSpacing": [0.3, 0.15]}
    rows, columns = np.indices((100, 200))
    inside = np.hypot((rows - 49.5) * 0.3, (columns - 99.5) * 0.15) < 9
    path = write_dicom(tmp_path / "a.dcm", np.where(inside, 1000, 10).astype(np.uint16), **tags)
    word = {"radiograph": {"field": field, "side": 100, "percentiles": (0, 100)}}
    (crop,) = crops_of(read_radiograph(path), word)
    high, wide = (crop > 127).any(1).sum(), (crop > 127).any(0).sum()
    assert abs(int(high) - int(wide)) <= 1
    assert abs(int(high) - 60) <= 1  # 18 of 30 mm


def test_joint_crops_of_pixels_that_are_not_square_are_those_of_square_ones(
    tmp_path: Path,
) -> None:
    square = np.repeat(RAMP, 2, axis=0)
    tall = write_dicom(tmp_path / "tall.dcm", RAMP, PixelSpacing=[0.4, 0.2])
    even = write_dicom(tmp_path / "even.dcm", square, PixelSpacing=[0.2, 0.2])
    for field in (None, 5.0):
        keys = {"field": field, "side": 16, "mirror": "none", "percentiles": (0, 100)}
        found = [crops_of(read_radiograph(path), {"joint": keys}) for path in (tall, even)]
        np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("NumberOfFrames", b"1A"),
        ("Rows", b"\1\0\0"),
        ("RescaleSlope", b"two"),
        ("RescaleIntercept", b"nan "),
        ("ImagerPixelSpacing", b"0.2\\x "),
        ("PixelSpacing", b"0.2 "),
        ("PixelSpacing", b"-1\\-1 "),
        ("PixelAspectRatio", b"1\\0 "),
    ],
)
def test_a_value_that_cannot_be_is_named(tmp_path: Path, tag: str, value: bytes) -> None:
    path = with_raw(write_dicom(tmp_path / "a.dcm", NOISE), tag, value)
    with pytest.raises(DataError, match=rf"a\.dcm has a value of {tag} that cannot be"):
        read_radiograph(path)


def test_a_missing_size_and_values_beyond_numbers_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.dcm lacks Columns"):
        read_radiograph(write_dicom(tmp_path / "a.dcm", NOISE, Columns=None))
    tags = {"RescaleSlope": "1e300", "RescaleIntercept": 0}
    with pytest.raises(DataError, match=r"b\.dcm has values that are not finite"):
        read_radiograph(write_dicom(tmp_path / "b.dcm", NOISE, **tags))


@pytest.mark.filterwarnings("ignore")
def test_pixels_for_two_images_of_the_stated_size_are_not_one(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", NOISE, Rows=len(NOISE) // 2)
    with pytest.raises(DataError, match=r"pixels of .*a\.dcm cannot be decoded"):
        read_radiograph(path)


def test_files_that_would_fill_the_memory_are_refused_before(tmp_path: Path) -> None:
    huge = write_dicom(tmp_path / "a.dcm", NOISE, Rows=60_000, Columns=60_000)
    with pytest.raises(DataError, match=r"a\.dcm is too large .* 60000 x 60000 pixels"):
        read_radiograph(huge)
    header = pydicom.dcmread(write_dicom(tmp_path / "b.dcm", NOISE))
    header.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    header.save_as(tmp_path / "b.dcm")
    np.testing.assert_array_equal(read_radiograph(tmp_path / "b.dcm").pixels, NOISE)


def test_a_deflated_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medssl.data.dicom.single._INFLATED", 10_000)
    header = pydicom.dcmread(write_dicom(tmp_path / "a.dcm", np.ones((200, 200), np.uint16)))
    header.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    header.save_as(tmp_path / "a.dcm")
    assert (tmp_path / "a.dcm").stat().st_size < 2000
    with pytest.raises(DataError, match=r"a\.dcm is too large"):
        read_radiograph(tmp_path / "a.dcm")


def with_raw(path: Path, tag: str, value: bytes) -> Path:
    """The same file with these bytes as a tag's value, whether they are valid or not."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    number = Tag(tag_for_keyword(tag))
    header = pydicom.dcmread(path)
    raw = RawDataElement(number, dictionary_VR(number), len(value), value, 0, False, True)
    header._dict[number] = raw
    header.save_as(path)
    return path


JUNK = [b"", b"1A", b"-1", b"nan ", b"9" * 40, b"\\\\", b"\xff\xfe\x00", b"0\\0\\0 ", b"<a>"]
TAGS = [
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel",
    "PlanarConfiguration", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns",
    "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "PixelSpacing",
    "ImagerPixelSpacing", "PixelAspectRatio", "ImageLaterality", "Laterality", "PixelData",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tag", TAGS)
def test_each_tag_may_be_missing_or_junk(tmp_path: Path, tag: str) -> None:
    tags = {"RescaleSlope": 1, "RescaleIntercept": 0, "PixelSpacing": [0.2, 0.2]}
    whole = write_dicom(tmp_path / "whole.dcm", NOISE, **tags).read_bytes()
    path = tmp_path / "a.dcm"
    path.write_bytes(whole)
    header = pydicom.dcmread(path)
    if tag in header:
        delattr(header, tag)
        header.save_as(path)
        assert read_or_named(path)
    for value in JUNK:
        path.write_bytes(whole)
        assert read_or_named(with_raw(path, tag, value))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("packed", [False, True])
def test_a_file_may_be_cut_or_damaged_anywhere(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "a.dcm"
    if packed:
        compressed(path, uid.JPEGLosslessSV1, lossless(NOISE), NOISE)
    else:
        write_dicom(path, NOISE)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    broken = [whole[:length] for length in range(0, len(whole), 17)]
    for _ in range(120):
        changed = bytearray(whole)
        changed[int(rng.integers(128, len(whole)))] = int(rng.integers(256))
        broken.append(bytes(changed))
    for content in broken:
        path.write_bytes(content)
        assert read_or_named(path)


def test_one_spacing_for_pixels_that_are_not_square_is_refused(tmp_path: Path) -> None:
    image = read_radiograph(write_dicom(tmp_path / "a.dcm", NOISE, PixelSpacing=[0.3, 0.15]))
    with pytest.raises(DataError, match=r"pixels of .*a\.dcm are not square"):
        image.with_spacing(0.2)
    square = read_radiograph(write_dicom(tmp_path / "b.dcm", NOISE, PixelSpacing=[0.3, 0.3]))
    assert square.with_spacing(0.2).spacing == (0.2, 0.2)
    assert square.with_spacing(None).spacing == (0.3, 0.3)
