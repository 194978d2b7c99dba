"""DICOM series: ITK is the judge of regular ones, sentences meet the irregular."""

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from medssl.data.volume import read_geometry, read_volume
from medssl.errors import DataError

RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def _slice(path, z, *, value=0, series="1.2.3", row=(1, 0, 0), column=(0, 1, 0), rescale=(1, 0)):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = f"1.2.3.{abs(hash(path.name)) % 10**9}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    header.SOPClassUID, header.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
    header.SeriesInstanceUID, header.StudyInstanceUID, header.Modality = series, "1.2", "MR"
    header.PatientName, header.PatientID = "Doe^Jane", "SECRET"
    header.Rows, header.Columns = 3, 4
    header.PixelSpacing, header.SliceThickness = [2.0, 0.5], 3.0
    header.ImageOrientationPatient = [*row, *column]
    normal = np.cross(row, column)
    header.ImagePositionPatient = list(np.array([10.0, 20.0, 30.0]) + z * normal)
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit, header.PixelRepresentation = 15, 0
    header.RescaleSlope, header.RescaleIntercept = rescale
    header.PixelData = (np.arange(12, dtype=np.uint16) + value).tobytes()
    header.save_as(path, enforce_file_format=True)


def test_slices_are_ordered_by_place_and_rescaled(tmp_path):
    for name, z in {"a.dcm": 8.0, "b.dcm": 0.0, "c.dcm": 4.0}.items():
        _slice(tmp_path / name, z, value=int(z), rescale=(2, -1000))
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
def test_grids_agree_with_itk(tmp_path, row, column):
    for number in range(3):
        _slice(tmp_path / f"{number}.dcm", 2.5 * number, row=row, column=column)
    files = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path))
    _agrees(read_volume(tmp_path), SimpleITK.ReadImage(files))


def _agrees(volume, image):
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    np.testing.assert_allclose(volume.geometry.affine, RAS @ affine, atol=1e-5)
    np.testing.assert_array_equal(volume.array[0], SimpleITK.GetArrayFromImage(image).T)


def test_a_single_slice_takes_its_thickness(tmp_path):
    _slice(tmp_path / "one.dcm", 0.0)
    assert read_geometry(tmp_path).spacing == (0.5, 2.0, 3.0)


def _with_gap(folder):
    for z in (0.0, 4.0, 12.0, 16.0):
        _slice(folder / f"{z}.dcm", z)


def _repeated(folder):
    for number, z in enumerate((0.0, 0.0, 4.0)):
        _slice(folder / f"{number}.dcm", z)


def _two_series(folder):
    _slice(folder / "a.dcm", 0.0, series="1.2.3")
    _slice(folder / "b.dcm", 4.0, series="1.2.4")


def _localiser(folder):
    _slice(folder / "a.dcm", 0.0)
    _slice(folder / "b.dcm", 4.0, row=(0, 1, 0), column=(0, 0, -1))


def _unplaced(folder):
    _slice(folder / "a.dcm", 0.0)
    header = pydicom.dcmread(folder / "a.dcm")
    del header.ImagePositionPatient
    header.save_as(folder / "a.dcm")


def _cut_off(folder):
    for z in (0.0, 4.0):
        _slice(folder / f"{z}.dcm", z)
    path = folder / "4.0.dcm"
    path.write_bytes(path.read_bytes()[:-10])


IRREGULAR = {
    _with_gap: r"lacks slices after slice 2 of 4 \(4.0.dcm\); the distance there is 8 mm instead of 4 mm",
    _repeated: "several slices at one position",
    _two_series: "holds 2 DICOM series",
    _localiser: "different size or direction",
    _unplaced: "a.dcm lacks ImagePositionPatient",
    _cut_off: "cannot be read",
}


@pytest.mark.parametrize("make", IRREGULAR, ids=lambda make: make.__name__)
def test_an_irregular_folder_is_refused_without_naming_the_patient(tmp_path, make):
    make(tmp_path)
    with pytest.raises(DataError, match=IRREGULAR[make]) as caught:
        read_volume(tmp_path)
    assert "SECRET" not in str(caught.value)
    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize("name", ["study3/11-T1post-18670", "study1/13_HCropVolume"])
def test_real_series_agree_with_itk(shared_data, name):
    folder = shared_data / "dicom_brain" / name
    files = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    volume = read_volume(folder)
    _agrees(volume, SimpleITK.ReadImage(files))
    assert read_geometry(folder) == volume.geometry
