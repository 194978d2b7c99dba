"""Values of a DICOM series are those that pydicom and highdicom find."""

import highdicom
import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut
from pydicom.uid import (
    MPEG4HP41,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from medssl.data.pixels import read_pixels
from medssl.data.volume import read_volume
from medssl.errors import DataError


def _series(folder, write, rescalings, values, **header):
    """Slices 3 mm apart, each with its slope and intercept."""
    for number, (slope, intercept) in enumerate(rescalings):
        write(
            folder / f"{number}.dcm",
            3.0 * number,
            values[number],
            RescaleSlope=slope,
            RescaleIntercept=intercept,
            **header,
        )


def _by_pydicom(folder):
    """[X, Y, Z] float64, in the order of the file names."""
    headers = [dcmread(path) for path in sorted(folder.iterdir())]
    slices = [apply_modality_lut(one.pixel_array, one) for one in headers]
    return np.stack(slices).astype(np.float64).T


def _by_highdicom(folder):
    headers = [dcmread(path) for path in sorted(folder.iterdir())]
    volume = highdicom.get_volume_from_series(headers, apply_presentation_lut=False)
    return np.asarray(volume.array).T[..., ::-1]  # it counts these slices from the top


def _random(kind, low, high, slices=4):
    return np.random.default_rng(0).integers(low, high, (slices, 5, 6)).astype(kind)


RESCALINGS = {
    "intercept of later slices": [(1, 0), (1, -1024), (1, -1024), (1, -1024)],
    "fractions of PET, the first slope whole": [(1, 0), (0.37, 0), (2.513, 0), (0.001, 0)],
    "fractional intercept": [(1, 0.5), (1, 0.25), (2, -0.5), (1, 0)],
    "negative slope": [(-1, 100), (-2, 0), (1, 0), (3, -7)],
    "large whole slopes": [(1000, 0), (1, 0), (70000, -3), (5, 5)],
}


@pytest.mark.parametrize("name", RESCALINGS)
@pytest.mark.parametrize("kind", [np.uint16, np.int16, np.uint8])
def test_each_slice_is_rescaled_by_its_own_slope_and_intercept(tmp_path, write, name, kind):
    limits = np.iinfo(kind)
    _series(tmp_path, write, RESCALINGS[name], _random(kind, limits.min, limits.max + 1))
    array, _ = read_pixels(tmp_path)
    np.testing.assert_array_equal(array[0], _by_pydicom(tmp_path).astype(array.dtype))
    np.testing.assert_allclose(array[0], _by_highdicom(tmp_path), rtol=1e-6)


def test_hounsfield_units_do_not_wrap_where_the_first_slice_has_no_intercept(tmp_path, write):
    values = np.array([[[5, 103]], [[5, 1127]], [[5, 1100]]], np.uint16)
    rescalings = [(1, 0), (1, -1024), (1, -1024)]
    _series(tmp_path, write, rescalings, values, BitsStored=12)
    array, _ = read_pixels(tmp_path)
    assert array[0, :, 0].T.tolist() == [[5, 103], [-1019, 103], [-1019, 76]]


def test_a_blank_first_slice_does_not_make_the_series_zero(tmp_path, write):
    values = np.array([[[0, 0]], [[1, 400]]], np.int16)
    _series(tmp_path, write, [(1, 0), (0.001, 0)], values)
    volume = read_volume(tmp_path)
    np.testing.assert_allclose(volume.array[0, :, 0, 1], [0.001, 0.4], rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "bits", "rescaling", "expected"),
    [
        (np.uint16, 12, (1, -1024), np.int16),
        (np.uint16, 16, (1, -1024), np.int32),
        (np.int16, 16, (1, 0), np.int16),
        (np.uint8, 8, (1, 0), np.uint8),
        (np.int16, 16, (3, 0), np.int32),
        (np.uint16, 16, (70000, 0), np.int64),
        (np.uint16, 16, (0.5, 0), np.float32),
    ],
)
def test_whole_numbers_stay_integers(tmp_path, write, kind, bits, rescaling, expected):
    _series(tmp_path, write, [rescaling], _random(kind, 0, 200, slices=1), BitsStored=bits)
    array, _ = read_pixels(tmp_path)
    assert array.dtype == expected
    np.testing.assert_array_equal(array[0], _by_pydicom(tmp_path))


def test_slices_may_differ_in_sign_and_bits(tmp_path, write):
    write(tmp_path / "0.dcm", 0, np.array([[0, 65535]], np.uint16))
    write(tmp_path / "1.dcm", 3, np.array([[-32768, 7]], np.int16))
    array, _ = read_pixels(tmp_path)
    assert array[0, :, 0].T.tolist() == [[0, 65535], [-32768, 7]]


@pytest.mark.parametrize(("signed", "expected"), [(0, 0x801), (1, 0x801 - 0x1000)])
def test_bits_that_are_not_stored_do_not_count(tmp_path, write, signed, expected):
    values = np.array([[0xF801, 1]], np.uint16)  # an overlay lies in the upper four bits
    write(tmp_path / "0.dcm", 0, values, BitsStored=12, PixelRepresentation=signed)
    array, _ = read_pixels(tmp_path)
    assert array[0, :, 0, 0].tolist() == [expected, 1]
    np.testing.assert_array_equal(array[0], _by_pydicom(tmp_path))


def test_padding_is_a_value_as_any_other(tmp_path, write):
    values = np.array([[-2000, 40]], np.int16)
    write(tmp_path / "0.dcm", 0, values, PixelPaddingValue=-2000, RescaleIntercept=-1024)
    assert read_pixels(tmp_path)[0][0, :, 0, 0].tolist() == [-3024, -984]


@pytest.mark.parametrize("header", [{}, {"BitsStored": 12}], ids=["16 bits", "12 bits"])
def test_monochrome1_is_about_the_screen_and_inverts_no_value(tmp_path, write, header):
    values = _random(np.uint16, 2, 223)
    kind = {"PhotometricInterpretation": "MONOCHROME1", **header}
    _series(tmp_path, write, [(1, -1024)] * 4, values, **kind)
    array, _ = read_pixels(tmp_path)
    np.testing.assert_array_equal(array[0], values.T.astype(np.int32) - 1024)
    np.testing.assert_array_equal(array[0], _by_highdicom(tmp_path))


def test_an_odd_number_of_bytes_is_padded_in_the_file_only(tmp_path, write):
    values = np.arange(15, dtype=np.uint8).reshape(3, 5)
    write(tmp_path / "0.dcm", 0, values)
    np.testing.assert_array_equal(read_pixels(tmp_path)[0][0, ..., 0], values.T)


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_every_order_of_bytes_is_read(tmp_path, write, syntax):
    values = _random(np.int16, -32768, 32767)
    _series(tmp_path, write, [(1, -7)] * 4, values, syntax=syntax)
    array, _ = read_pixels(tmp_path)
    np.testing.assert_array_equal(array[0], values.T.astype(np.int32) - 7)


def _compress(path, compressor):
    """Compress a slice in place; ITK's are names, pydicom's are transfer syntaxes."""
    header = dcmread(path)
    if isinstance(compressor, str) and compressor in ("JPEG", "JPEG2000"):
        place = path.with_suffix(".itk.dcm")
        plain = SimpleITK.GetImageFromArray(header.pixel_array[None])
        SimpleITK.WriteImage(plain, place, useCompression=True, compressor=compressor)
        packed = dcmread(place)
        place.unlink()
        header.PixelData = packed.PixelData
        header["PixelData"].is_undefined_length = True
        header.file_meta.TransferSyntaxUID = packed.file_meta.TransferSyntaxUID
    else:
        header.compress(compressor, generate_instance_uid=False)
    header.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000", RLELossless, JPEGLSLossless], ids=str)
@pytest.mark.parametrize("look", ["MONOCHROME1", "MONOCHROME2"])
def test_compressed_slices_are_rescaled_once_and_never_inverted(tmp_path, write, compressor, look):
    values = np.random.default_rng(0).integers(0, 4096, (3, 16, 24)).astype(np.uint16)
    rescalings = [(1, 0), (2, -1024), (1, -1000)]
    _series(tmp_path, write, rescalings, values, PhotometricInterpretation=look)
    expected = read_pixels(tmp_path)[0]
    for path in sorted(tmp_path.iterdir()):
        _compress(path, compressor)
    np.testing.assert_array_equal(read_pixels(tmp_path)[0], expected)
    assert expected[0, 0, 0].tolist() == [
        values[0, 0, 0],
        2 * int(values[1, 0, 0]) - 1024,
        int(values[2, 0, 0]) - 1000,
    ]


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000", RLELossless, JPEGLSLossless], ids=str)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_compressed_slice_that_was_cut_is_named(tmp_path, write, compressor, share):
    values = np.random.default_rng(0).integers(0, 4096, (2, 32, 32)).astype(np.uint16)
    _series(tmp_path, write, [(1, 0)] * 2, values)
    for path in sorted(tmp_path.iterdir()):
        _compress(path, compressor)
    path = tmp_path / "1.dcm"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match=r"1.dcm cannot be read"):
        read_volume(tmp_path)


def test_a_transfer_syntax_that_nothing_decodes_is_named(tmp_path, write):
    path = write(tmp_path / "0.dcm")
    header = dcmread(path)
    header.file_meta.TransferSyntaxUID = MPEG4HP41
    header.PixelData = encapsulate([b"a film"])
    header["PixelData"].is_undefined_length = True
    header.save_as(path)
    with pytest.raises(DataError, match=r"0.dcm cannot be read.*MPEG-4 AVC/H.264 High Profile"):
        read_volume(tmp_path)


def test_a_slice_that_would_inflate_without_end_is_refused(tmp_path, write, monkeypatch):
    monkeypatch.setattr("medssl.data.dicom.slices._INFLATED", 50_000)
    for number, size in enumerate((100, 300)):
        zeros = np.zeros((size, size), np.uint16)
        path = write(
            tmp_path / f"{number}.dcm", number, zeros, syntax=DeflatedExplicitVRLittleEndian
        )
    assert path.stat().st_size < 2000
    with pytest.raises(DataError, match=r"1.dcm cannot be read"):
        read_volume(tmp_path)
