"""Single DICOM files as pictures: grey and colour, one frame and several, and their scale."""

import re

import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage

from medssl.data.picture.dicom import holds_pictures
from medssl.data.volume import read_geometry, read_volume
from medssl.errors import DataError
from medssl.pipeline.inputs import find_inputs
from tests.data.conftest import write_dicom

GREY = np.arange(35, dtype=np.uint16).reshape(5, 7) * 100
RGB = np.stack([GREY // 100, GREY // 50, 200 - GREY // 100], axis=-1).astype(np.uint8)
COLOUR = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}


def test_grey_values_are_rescaled_and_dark_on_bright_is_inverted(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", GREY, RescaleSlope=2, RescaleIntercept=-5)
    assert (read_volume(path).array[0, :, :, 0] == (2.0 * GREY - 5).T).all()
    path = write_dicom(tmp_path / "b.dcm", GREY, PhotometricInterpretation="MONOCHROME1")
    assert (read_volume(path).array[0, :, :, 0] == (GREY.max() - GREY).T).all()


def test_colours_are_channels(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", RGB, **COLOUR)
    assert (read_volume([path] * 3).array[..., 0] == RGB.transpose(2, 1, 0)).all()


def test_luminance_and_chrominance_become_red_green_and_blue(tmp_path):
    ybr = np.zeros((5, 7, 3), np.uint8)
    ybr[..., 0], ybr[..., 1:] = 90, 128
    tags = {**COLOUR, "PhotometricInterpretation": "YBR_FULL"}
    found = read_volume([write_dicom(tmp_path / "a.dcm", ybr, **tags)] * 3)
    assert (found.array == 90).all()


def test_frames_are_a_stack(tmp_path):
    frames = np.stack([GREY, GREY + 1, GREY + 2])
    path = write_dicom(tmp_path / "a.dcm", frames, Rows=5, Columns=7, NumberOfFrames=3)
    volume = read_volume(path)
    assert volume.geometry.shape == (7, 5, 3)
    assert (volume.array[0] == frames.transpose(2, 1, 0)).all()
    coloured = np.stack([RGB, RGB])
    tags = {**COLOUR, "Rows": 5, "Columns": 7, "NumberOfFrames": 2}
    found = read_volume([write_dicom(tmp_path / "b.dcm", coloured, **tags)] * 3).array
    assert (found == coloured.transpose(3, 2, 1, 0)).all()


KINDS = {
    "CR": uid.ComputedRadiographyImageStorage,
    "DX": uid.DigitalXRayImageStorageForPresentation,
    "MG": uid.DigitalMammographyXRayImageStorageForPresentation,
    "US": uid.UltrasoundImageStorage,
    "US frames": uid.UltrasoundMultiFrameImageStorage,
    "ES": uid.VLEndoscopicImageStorage,
    "ES frames": uid.VideoEndoscopicImageStorage,
    "XA frames": uid.XRayAngiographicImageStorage,
}


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_every_kind_are_read_and_found_in_a_folder(tmp_path, kind):
    frames = 3 if "frames" in kind else 1
    pixels = np.stack([RGB if kind.startswith("ES") else GREY] * frames)
    tags = {"Modality": kind[:2], "SOPClassUID": KINDS[kind], "Rows": 5, "Columns": 7}
    tags |= COLOUR if kind.startswith("ES") else {}
    tags |= {"NumberOfFrames": frames} if frames > 1 else {}
    path = write_dicom(tmp_path / "a.dcm", pixels, **tags)
    channels = 3 if kind.startswith("ES") else 1
    assert read_volume([path] * channels).array.shape == (channels, 7, 5, frames)
    assert holds_pictures(tmp_path) == [path]


def test_the_scale_is_that_of_the_header_or_of_the_regions_of_ultrasound(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", GREY, PixelSpacing=[0.2, 0.1])
    assert read_geometry(path).spacing == (0.1, 0.2, 1)
    region = Dataset()
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.02, 0.03
    path = write_dicom(tmp_path / "b.dcm", GREY, SequenceOfUltrasoundRegions=[region])
    assert read_geometry(path).spacing == pytest.approx((0.2, 0.3, 1))


@pytest.mark.parametrize("value", ["1\\1", "x"])
def test_a_region_of_ultrasound_without_a_number_is_told(tmp_path, value):
    region = Dataset()
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.add_new("PhysicalDeltaX", "LO", value)
    path = write_dicom(tmp_path / "a.dcm", GREY, SequenceOfUltrasoundRegions=[region])
    with pytest.raises(DataError, match=r"a\.dcm has a region of ultrasound whose scale cannot be"):
        read_volume(path)


def test_volumes_in_one_file_are_no_pictures(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", GREY, SOPClassUID=EnhancedCTImageStorage)
    with pytest.raises(DataError, match=r"a\.dcm is no picture; .*'Enhanced CT Image Storage'"):
        read_volume(path)


def test_a_folder_of_pictures_is_a_case_for_each(tmp_path):
    for name in ("a.dcm", "b.dcm"):
        write_dicom(tmp_path / name, GREY)
    found = list(find_inputs([tmp_path], ["image"]))
    assert len(set(found)) == 2
    assert all(re.fullmatch("image_[0-9a-f]{12}", one) for one in found)
    write_dicom(
        tmp_path / "b.dcm", GREY, SOPClassUID=CTImageStorage, ImagePositionPatient=[0, 0, 0]
    )
    assert holds_pictures(tmp_path) == []


@pytest.mark.parametrize(
    "group", ["DetectorInformationSequence", "PerFrameFunctionalGroupsSequence"]
)
def test_frames_that_say_where_they_lie_are_no_pictures(tmp_path, group):
    detector, frame, place = Dataset(), Dataset(), Dataset()
    detector.ImagePositionPatient = place.ImagePositionPatient = [0, 0, 0]
    frame.PlanePositionSequence = [place]
    one = detector if group.startswith("Detector") else frame
    write_dicom(tmp_path / "a.dcm", GREY, **{group: [one]})
    assert holds_pictures(tmp_path) == []
