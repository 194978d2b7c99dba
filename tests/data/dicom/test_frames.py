"""Multi-frame files are volumes: enhanced ones made by highdicom, and those with top-level tags."""

import re

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    JPEGLSLossless,
    NuclearMedicineImageStorage,
    RLELossless,
    generate_uid,
)
from scipy.spatial import cKDTree

from medssl.data.dicom.choice import Wanted, choose
from medssl.data.dicom.contents import candidates_in
from medssl.data.dicom.rule import SeriesRule
from medssl.data.dicom.series import find_series
from medssl.data.dicom.study import studies_in
from medssl.data.geometry import Geometry
from medssl.data.volume import read_volume
from medssl.errors import DataError
from medssl.export.dicom_seg import write_dicom_seg
from medssl.export.result import Result
from medssl.export.rtstruct import write_rtstruct
from tests.data.dicom.conftest import make_slice
from tests.data.dicom.test_suv import PET
from tests.dicom_series import write_series
from tests.export.conftest import LABELS

SHAPE = (9, 7, 5)


def classic(folder, affine, **header):
    values = np.random.default_rng(0).integers(0, 1000, SHAPE)
    told = {"StudyDate": "", "StudyTime": "", "PatientBirthDate": "", "AccessionNumber": ""}
    told |= {"StudyID": "", "ReferringPhysicianName": "", "Manufacturer": "x", **header}
    return write_series(folder, Geometry(SHAPE, affine), values, **told)


def enhanced(folder, out):
    """The same series as one file, by highdicom."""
    slices = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    for one in slices:
        one.ImageType, one.SoftwareVersions = ["ORIGINAL", "PRIMARY", "M"], "1"
        one.AcquisitionDateTime = "20200101"
    kind = {"MR": "MR", "CT": "CT", "PT": "PET"}[slices[0].Modality]
    make = getattr(highdicom.legacy, f"LegacyConvertedEnhanced{kind}Image")
    made = make(slices[::-1], generate_uid(), 5, generate_uid(), 1)
    out.parent.mkdir(exist_ok=True)
    made.save_as(out)
    return out


def change(path, work):
    header = pydicom.dcmread(path)
    work(header)
    header.save_as(path)


KINDS = {
    "MR": {},
    "CT": {"Modality": "CT", "SOPClassUID": CTImageStorage, "RescaleSlope": 2,
           "RescaleIntercept": -1024},
    "PT": {"RescaleSlope": 0.5, "RescaleIntercept": 0, **PET},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_an_enhanced_file_is_the_volume_of_its_series(tmp_path, scanner_affine, kind):
    """PET in SUV both times."""
    folder = classic(tmp_path / "classic", scanner_affine, **KINDS[kind])
    enhanced(folder, tmp_path / "one" / "mr")
    before, after = read_volume(folder), read_volume(tmp_path / "one")
    assert after.geometry.matches(before.geometry)
    np.testing.assert_allclose(after.array, before.array, rtol=1e-5)
    unit = find_series(tmp_path / "one").slices[0].unit
    assert unit == find_series(folder).slices[0].unit == ("SUV" if kind == "PT" else "")


def test_each_frame_is_rescaled_as_it_says(tmp_path):
    folder = classic(tmp_path / "c", np.eye(4), Modality="CT", SOPClassUID=CTImageStorage)
    for number, path in enumerate(sorted(folder.iterdir())):
        scale = {"RescaleSlope": number + 1, "RescaleIntercept": -number}
        change(path, lambda one, scale=scale: [setattr(one, *pair) for pair in scale.items()])
    path = enhanced(folder, tmp_path / "one" / "ct.dcm")
    groups = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    slopes = [one.PixelValueTransformationSequence[0].RescaleSlope for one in groups]
    assert sorted(slopes) == [1, 2, 3, 4, 5]
    np.testing.assert_array_equal(read_volume(tmp_path / "one").array, read_volume(folder).array)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_compressed_frames_are_decoded(tmp_path, syntax):
    folder = classic(tmp_path / "classic", np.eye(4))
    path = enhanced(folder, tmp_path / "one" / "mr.dcm")
    image = pydicom.dcmread(path)
    if syntax == RLELossless:
        image.compress(RLELossless, encoding_plugin="pydicom")
    else:
        from imagecodecs import jpegls_encode

        frames = [jpegls_encode(frame) for frame in image.pixel_array]
        image.PixelData = pydicom.encaps.encapsulate(frames)
        image.file_meta.TransferSyntaxUID = syntax
        image["PixelData"].VR = "OB"
    image.save_as(path)
    np.testing.assert_array_equal(read_volume(tmp_path / "one").array, read_volume(folder).array)


def twice(tmp_path, sequence, keyword, values):
    """The frames of a file twice, told apart by one value; the candidates of its study."""
    folder = classic(tmp_path / "classic", np.eye(4), SeriesDescription="T1")
    path = enhanced(folder, tmp_path / "one" / "mr.dcm")
    image = pydicom.dcmread(path)
    frames, image.NumberOfFrames = list(image.PerFrameFunctionalGroupsSequence), 10
    image.PixelData = image.PixelData + bytes(len(image.PixelData))
    image.SOPClassUID, groups = EnhancedMRImageStorage, []
    for value in values:
        for frame in frames:
            copy, mark = Dataset(), Dataset()
            copy.PlanePositionSequence = frame.PlanePositionSequence
            for name in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
                if name in frame:
                    setattr(copy, name, frame[name].value)
            setattr(mark, keyword, value)
            setattr(copy, sequence, [mark])
            groups.append(copy)
    image.PerFrameFunctionalGroupsSequence = groups
    image.SeriesDescription = "T1"
    image.save_as(path)
    (study,) = studies_in(tmp_path / "one")
    return candidates_in(study)


def test_frames_of_several_echoes_are_volumes_of_their_own(tmp_path):
    candidates = twice(tmp_path, "MREchoSequence", "EffectiveEchoTime", (10.0, 80.0))
    assert [one.part for one in candidates] == ["echo time 10", "echo time 80"]
    rules = {"t1": SeriesRule(part="echo time 80")}
    found = choose(candidates, Wanted("MR", ("t1",), rules), "study")
    assert {one.frame for one in found.series[0].slices} == {5, 6, 7, 8, 9}


@pytest.mark.parametrize(
    ("kinds", "why"),
    [
        ((["ORIGINAL", "PRIMARY", "M"], ["DERIVED", "PRIMARY", "M"]), "derived from other images"),
        ((["ORIGINAL", "PRIMARY", "M"], ["DERIVED", "PRIMARY", "FA"]), r"computed from .* \(FA\)"),
        (("ORIGINAL", "DERIVED"), "derived from other images"),
    ],
)
def test_frames_of_several_kinds_are_volumes_of_which_the_original_is_taken(tmp_path, kinds, why):
    candidates = twice(tmp_path, "MRImageFrameTypeSequence", "FrameType", kinds)
    found = choose(candidates, Wanted("MR", ("t1",)), "study")
    assert {one.frame for one in found.series[0].slices} == {0, 1, 2, 3, 4}
    (other,) = [one.reason for one in found.decisions if not one.channel]
    assert re.match(f"it is {why}", other)


def stacked(path, **more):
    """Frames with tags at the top level, 2.5 mm apart."""
    values = np.arange(4 * 3 * 5, dtype=np.uint16).reshape(4, 3, 5)
    told = {"NumberOfFrames": 4, "SpacingBetweenSlices": 2.5, **more}
    told = {keyword: value for keyword, value in told.items() if value is not None}
    one = make_slice(0.0, values[0], SOPClassUID=NuclearMedicineImageStorage, **told)
    for keyword in set(more) - set(told):
        one.pop(keyword, None)
    one.PixelData = values.tobytes()
    path.parent.mkdir(exist_ok=True)
    one.save_as(path, enforce_file_format=True)
    return values


def test_frames_with_tags_at_the_top_level_are_a_volume(tmp_path):
    values = stacked(tmp_path / "one" / "nm.dcm", RescaleSlope=2, RescaleIntercept=-1)
    volume = read_volume(tmp_path / "one")
    assert volume.geometry.spacing == (0.5, 2.0, 2.5)
    np.testing.assert_array_equal(volume.array[0], values.transpose(2, 1, 0) * 2.0 - 1)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_pixels_of_more_frames_than_are_stated_are_refused(tmp_path, syntax):
    """The number of columns is damaged: the first frames would be put together of lines of one."""
    stacked(tmp_path / "one" / "nm.dcm")
    header = pydicom.dcmread(tmp_path / "one" / "nm.dcm")
    header.Columns, header.file_meta.TransferSyntaxUID = 1, syntax
    header.save_as(tmp_path / "one" / "nm.dcm")
    with pytest.raises(DataError, match=r"the pixels of .*nm\.dcm cannot be read"):
        read_volume(tmp_path / "one")


@pytest.mark.parametrize(
    ("slope", "intercept", "why"),
    [(0, -1, "slope of 0"), (2, None, "slope but no"), (None, 1, "intercept but no")],
)
def test_a_rescaling_that_cannot_be_is_refused(tmp_path, slope, intercept, why):
    """Not taken for a slope of 1."""
    given = {"RescaleSlope": slope, "RescaleIntercept": intercept}
    stacked(tmp_path / "one" / "nm.dcm", **given)
    with pytest.raises(DataError, match=rf"nm\.dcm has frames with a.*{why}"):
        read_volume(tmp_path / "one")


def test_a_distance_of_slices_that_cannot_be_is_told(tmp_path):
    stacked(tmp_path / "one" / "nm.dcm", SpacingBetweenSlices=65535)
    with pytest.raises(DataError, match="has no valid grid; the voxels measure"):
        read_volume(tmp_path / "one")


@pytest.mark.parametrize("missing", ["SpacingBetweenSlices", "PixelSpacing"])
def test_frames_that_do_not_say_where_they_lie_are_refused(tmp_path, missing):
    stacked(tmp_path / "one" / "nm.dcm", **{missing: None})
    with pytest.raises(DataError, match=r"nm\.dcm cannot be used as a volume; its frames do not"):
        read_volume(tmp_path / "one")


@pytest.mark.parametrize("claimed", [3, 10**9])
def test_a_damaged_number_of_frames_is_refused(tmp_path, claimed):
    folder = classic(tmp_path / "classic", np.eye(4))
    path = enhanced(folder, tmp_path / "one" / "mr.dcm")
    change(path, lambda one: setattr(one, "NumberOfFrames", claimed))
    with pytest.raises(DataError, match=r"mr\.dcm cannot be read"):
        read_volume(tmp_path / "one")


def test_a_mask_of_an_enhanced_scan_refers_to_its_frames(tmp_path, scanner_affine):
    enhanced(classic(tmp_path / "classic", scanner_affine), tmp_path / "one" / "mr.dcm")
    image = pydicom.dcmread(tmp_path / "one" / "mr.dcm")
    series, mask = find_series(tmp_path / "one"), np.zeros(SHAPE, np.uint8)
    mask[2:4, 1:5, 1:3] = 1
    result = Result(mask, series.geometry, LABELS, "mask", series)
    write_dicom_seg(result, tmp_path / "seg.dcm")
    seg = highdicom.seg.segread(tmp_path / "seg.dcm")
    volume = highdicom.image.Image.from_dataset(image).get_volume()
    found = seg.get_volume(combine_segments=True).match_geometry(volume)
    lps = np.diag([-1.0, -1, 1, 1])
    own = series.geometry.affine
    places = np.argwhere(mask) @ own[:3, :3].T + own[:3, 3]
    seen = np.argwhere(found.array) @ found.affine[:3, :3].T + found.affine[:3, 3]
    assert len(places) == len(seen)
    assert cKDTree(places @ lps[:3, :3]).query(seen)[0].max() < 1e-3
    (referred,) = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert referred.ReferencedSOPInstanceUID == image.SOPInstanceUID
    write_rtstruct(result, tmp_path / "rt.dcm")
    contour = pydicom.dcmread(tmp_path / "rt.dcm").ROIContourSequence[0].ContourSequence[0]
    (named,) = contour.ContourImageSequence
    frame = image.PerFrameFunctionalGroupsSequence[named.ReferencedFrameNumber - 1]
    place = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
    normal = np.cross(*series.slices[0].directions)
    assert normal @ place == pytest.approx(
        normal @ np.array(contour.ContourData[:3], float), abs=1e-3
    )
