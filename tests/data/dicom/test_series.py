"""The grid of a DICOM series: ITK is the judge of regular ones, sentences meet the irregular."""

import numpy as np
import pytest
import SimpleITK

from medssl.data.dicom.series import refuse_both_kinds
from medssl.data.volume import read_geometry, read_volume
from medssl.errors import DataError

RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def test_slices_are_ordered_by_place_and_rescaled(tmp_path, write):
    for name, z in {"a.dcm": 8, "b.dcm": 0, "c.dcm": 4}.items():
        values = np.arange(z, z + 12, dtype=np.uint16).reshape(3, 4)
        write(tmp_path / name, z, values, RescaleSlope=2, RescaleIntercept=-1000)
    (tmp_path / "README.txt").write_text("not an image")
    volume = read_volume(tmp_path)
    assert volume.array.shape == (1, 4, 3, 3)
    assert volume.array[0, 0, 0].tolist() == [-1000, -992, -984]
    assert volume.array[0, 1, 0, 0] == -998  # columns run along x
    assert volume.array[0, 0, 1, 0] == -992  # rows along y, four pixels each
    assert volume.geometry.spacing == (0.5, 2.0, 4.0)
    assert volume.geometry.orientation == "LPS"
    np.testing.assert_allclose(volume.geometry.affine[:3, 3], [-10, -20, 30])


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ((1, 0, 0), (0, 1, 0)),
        ((-1, 0, 0), (0, 1, 0)),
        ((0, 1, 0), (0, 0, -1)),
        ((1, 0, 0), (0, 0, -1)),
        ((0.8, 0.6, 0), (0, 0, 1)),
    ],
    ids=["axial", "negated columns", "sagittal", "coronal", "oblique"],
)
def test_grids_agree_with_itk(tmp_path, write, row, column):
    for number in range(3):
        place = np.array([10.0, 20.0, 30.0]) + 2.5 * number * np.cross(row, column)
        write(
            tmp_path / f"{number}.dcm",
            ImageOrientationPatient=[*row, *column],
            ImagePositionPatient=place.tolist(),
        )
    files = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path))
    _agrees(read_volume(tmp_path), SimpleITK.ReadImage(files))


def _agrees(volume, image):
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    np.testing.assert_allclose(volume.geometry.affine, RAS @ affine, atol=1e-5)
    np.testing.assert_array_equal(volume.array[0], SimpleITK.GetArrayFromImage(image).T)


@pytest.mark.parametrize("name", ["study3/11-T1post-18670", "study1/13_HCropVolume"])
def test_real_series_agree_with_itk(shared_data, name):
    folder = shared_data / "dicom_brain" / name
    files = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    volume = read_volume(folder)
    _agrees(volume, SimpleITK.ReadImage(files))
    assert read_geometry(folder) == volume.geometry


def test_a_single_slice_takes_its_thickness(tmp_path, write):
    write(tmp_path / "one.dcm")
    assert read_geometry(tmp_path).spacing == (0.5, 2.0, 3.0)


def test_a_single_slice_without_thickness_is_no_volume(tmp_path, write):
    write(tmp_path / "one.dcm", SliceThickness=None)
    with pytest.raises(DataError, match=r"one.dcm states no SliceThickness"):
        read_geometry(tmp_path)


def test_a_constant_tilt_of_the_gantry_is_part_of_the_grid(tmp_path, write):
    for number in range(4):
        write(tmp_path / f"{number}.dcm", ImagePositionPatient=[10, 20 + 0.8 * number, 2 * number])
    affine = read_geometry(tmp_path).affine
    np.testing.assert_allclose(affine[:3, 2], [0, -0.8, 2])  # RAS: y is turned round


def test_places_rounded_to_a_tenth_of_a_millimetre_still_lie_on_a_line(tmp_path, write):
    for number in range(20):
        y = round(20 + 0.777 * number, 1)
        write(tmp_path / f"{number}.dcm", ImagePositionPatient=[10, y, 2 * number])
    assert read_geometry(tmp_path).shape == (4, 3, 20)


@pytest.mark.parametrize("number", [1, 4, 7])
def test_a_slice_shifted_in_its_plane_is_refused(tmp_path, write, number):
    for other in range(8):
        x = 10.5 if other == number else 10.0  # one pixel
        write(tmp_path / f"{other}.dcm", ImagePositionPatient=[x, 20, 3 * other])
    with pytest.raises(DataError, match=rf"shifted against each other.*{number}\.dcm.*0.5 mm"):
        read_geometry(tmp_path)


def test_a_series_whose_second_half_is_shifted_is_refused(tmp_path, write):
    for number in range(8):
        y = 20 if number < 5 else 24
        write(tmp_path / f"{number}.dcm", ImagePositionPatient=[10, y, 3 * number])
    with pytest.raises(DataError, match=r"4.dcm and 5.dcm; they lie 4 mm aside"):
        read_geometry(tmp_path)


def _with_gap(folder, write):
    for z in (0, 4, 12, 16):
        write(folder / f"{z}.dcm", z)


def _repeated(folder, write):
    for number, z in enumerate((0, 0, 4)):
        write(folder / f"{number}.dcm", z)


def _two_series(folder, write):
    write(folder / "a.dcm", 0, SeriesInstanceUID="1.2.3")
    write(folder / "b.dcm", 4, SeriesInstanceUID="1.2.4")


def _localiser(folder, write):
    write(folder / "a.dcm", 0)
    write(folder / "b.dcm", 4, ImageOrientationPatient=[0, 1, 0, 0, 0, -1])


def _larger_pixels(folder, write):
    write(folder / "a.dcm", 0)
    write(folder / "b.dcm", 4, PixelSpacing=[2, 0.6])


def _nothing(folder, write):
    (folder / "README.txt").write_text("nothing here")


IRREGULAR = {
    _with_gap: r"lacks slices after slice 2 of 4 \(4.dcm\); the distance there is 8 mm instead",
    _repeated: "several slices at one position, 0.dcm and 1.dcm",
    _two_series: "holds 2 DICOM series",
    _localiser: "different size or direction, a.dcm and b.dcm",
    _larger_pixels: "different size or direction, a.dcm and b.dcm",
    _nothing: "is a folder without DICOM images",
}


@pytest.mark.parametrize("make", IRREGULAR, ids=lambda make: make.__name__)
def test_an_irregular_folder_is_refused_without_naming_the_patient(tmp_path, write, make):
    make(tmp_path, write)
    with pytest.raises(DataError, match=IRREGULAR[make]) as caught:
        read_volume(tmp_path)
    assert "SECRET" not in str(caught.value)
    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize("image", ["mask.nii.gz", "Mask.NRRD", "mask.mha"])
def test_a_series_beside_an_image_of_another_format_is_told_not_guessed(eight, image):
    (eight / image).write_bytes(b"whatever")
    for look in (read_volume, read_geometry, refuse_both_kinds):
        with pytest.raises(DataError, match=rf"both a DICOM series \(000.dcm.*image {image}"):
            look(eight)


def test_hidden_images_and_pictures_beside_a_series_are_no_other_image(eight):
    for name in ("._mask.nii.gz", "preview.png"):
        (eight / name).write_bytes(b"whatever")
    assert read_volume(eight).array.shape == (1, 4, 3, 8)
