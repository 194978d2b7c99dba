"""RT structure sets: the voxels inside their contours are those of the mask, however it lies."""

import numpy as np
import pydicom
import pytest
from matplotlib.path import Path as Outline

from medssl.data.dicom.series import find_series
from medssl.data.geometry import Geometry
from medssl.data.labels import Label
from medssl.data.volume import Volume
from medssl.errors import DataError
from medssl.export.contours import outlines
from medssl.export.dicom_seg import write_dicom_seg
from medssl.export.result import Algorithm, Result
from medssl.export.rtstruct import write_rtstruct
from tests.dicom_series import RAS_TO_LPS
from tests.export.conftest import LABELS

SHAPE = (11, 9, 5)
TILTED = np.array([[0.5, 0, 0, 3], [0, 1.25, 0.8, 4], [0, 0, 3, 5], [0, 0, 0, 1]])


def _mask():
    """Parts, parts that touch at a corner, a hole, an island in it, single voxels."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:10, 1:8, 1] = 1
    mask[3:8, 3:6, 1] = 0
    mask[5, 4, 1] = 1
    mask[2, 2, 1] = 0
    mask[1:3, 1:3, 3] = 5
    mask[3:5, 3:5, 3] = 5
    mask[8, 7, 4] = 5
    return mask


def _filled(contours, affine_lps, shape):
    """Even-odd filling of contours by matplotlib, in voxels of a grid [X, Y, Z]."""
    mask, inverse = np.zeros(shape, bool), np.linalg.inv(affine_lps)
    centres = np.indices(shape[:2]).reshape(2, -1).T
    for contour in contours:
        places = np.reshape(contour.ContourData, (-1, 3)).astype(float)
        voxels = places @ inverse[:3, :3].T + inverse[:3, 3]
        (number,) = set(np.rint(voxels[:, 2]).astype(int))
        assert np.abs(voxels[:, 2] - number).max() < 1e-4  # it lies on its slice
        inside = Outline(voxels[:, :2]).contains_points(centres).reshape(shape[:2])
        assert not (mask[:, :, number] & inside).any()  # each voxel is in one contour
        mask[:, :, number] |= inside
    return mask


def _round_trip(mask, grid, series, path, **more):
    write_rtstruct(Result(mask, grid, LABELS, "mask", series, **more), path)
    return pydicom.dcmread(path)


@pytest.mark.parametrize("tilted", [False, True])
def test_voxels_inside_the_contours_are_those_of_the_mask(
    make_series, scanner_affine, tmp_path, tilted
):
    grid, mask = Geometry(SHAPE, TILTED if tilted else scanner_affine), _mask()
    series = find_series(make_series(grid))
    found = _round_trip(mask, grid, series, tmp_path / "o.dcm")
    own = series.geometry
    truth = Result(mask, grid, LABELS, "mask", series).on_series(mask)
    for roi, label in zip(found.ROIContourSequence, LABELS, strict=True):
        seen = _filled(roi.ContourSequence, RAS_TO_LPS @ own.affine, own.shape)
        np.testing.assert_array_equal(seen, truth == label.value)


def test_contours_stay_within_half_a_voxel_of_the_mask(make_series, tmp_path):
    grid, mask = Geometry(SHAPE, np.diag([0.5, 1.25, 3, 1])), _mask()
    found = _round_trip(mask, grid, find_series(make_series(grid)), tmp_path / "o.dcm")
    places = np.concatenate(
        [
            np.reshape(contour.ContourData, (-1, 3)).astype(float)
            for contour in found.ROIContourSequence[0].ContourSequence
        ]
    )
    marked = np.argwhere(mask == 1) * (-0.5, -1.25, 3)
    apart = np.abs(places[:, None] - marked[None]) / (0.5, 1.25, 3)
    # From the edge of a voxel, which is half a voxel from its centre.
    assert apart.max(axis=2).min(axis=1).max() - 0.5 <= 0.25 + 1e-5


def test_structures_refer_to_every_image_and_say_what_they_are(make_series, tmp_path):
    grid = Geometry(SHAPE, np.eye(4))
    series = find_series(make_series(grid))
    model = Algorithm("medssl tracoco, toy", "1.2")
    found = _round_trip(_mask(), grid, series, tmp_path / "o.dcm", algorithm=model)
    headers = [pydicom.dcmread(file) for file in series.files]
    (frame,) = found.ReferencedFrameOfReferenceSequence
    (study,) = frame.RTReferencedStudySequence
    (referred,) = study.RTReferencedSeriesSequence
    assert frame.FrameOfReferenceUID == headers[0].FrameOfReferenceUID
    assert study.ReferencedSOPInstanceUID == headers[0].StudyInstanceUID
    assert referred.SeriesInstanceUID == headers[0].SeriesInstanceUID
    assert [one.ReferencedSOPInstanceUID for one in referred.ContourImageSequence] == [
        header.SOPInstanceUID for header in headers
    ]
    assert [roi.ROIName for roi in found.StructureSetROISequence] == [one.name for one in LABELS]
    assert "medssl tracoco, toy 1.2" in found.StructureSetROISequence[0].ROIGenerationDescription
    code = found.RTROIObservationsSequence[0].RTROIIdentificationCodeSequence[0]
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("5366008", "SCT")
    contour = found.ROIContourSequence[1].ContourSequence[-1]
    assert contour.ContourImageSequence[0].ReferencedSOPInstanceUID == headers[4].SOPInstanceUID
    assert len(found.ROIContourSequence[2].ContourSequence) == 0  # nothing of it is marked
    assert (found.PatientName, found.PatientID) == ("Doe^Jane", "SECRET")
    assert found.file_meta.MediaStorageSOPInstanceUID == found.SOPInstanceUID


def test_numbers_fit_into_what_the_standard_allows(make_series, tmp_path):
    affine = np.eye(4)
    affine[:3, 3] = (-1234.567891234, 987.654321987, -0.000000123)
    grid = Geometry(SHAPE, affine)
    found = _round_trip(_mask(), grid, find_series(make_series(grid)), tmp_path / "o.dcm")
    for contour in found.ROIContourSequence[0].ContourSequence:
        assert all(len(str(value)) <= 16 for value in contour.ContourData)
        assert contour.NumberOfContourPoints * 3 == len(contour.ContourData)


def test_a_hole_is_joined_to_the_outline_around_it():
    plane = np.ones((5, 5), bool)
    plane[1, 1] = plane[3, 3] = False
    (outline,) = outlines(plane)
    inside = Outline(outline).contains_points(np.indices((5, 5)).reshape(2, -1).T)
    np.testing.assert_array_equal(inside.reshape(5, 5), plane)
    assert outlines(np.zeros((3, 3), bool)) == []


def test_random_masks_come_back(make_series, tmp_path):
    grid = Geometry(SHAPE, np.diag([0.7, 0.7, 2, 1]))
    series = find_series(make_series(grid))
    for seed in range(5):
        mask = np.random.default_rng(seed).integers(0, 2, SHAPE).astype(np.uint8)
        found = _round_trip(mask, grid, series, tmp_path / f"{seed}.dcm")
        seen = _filled(
            found.ROIContourSequence[0].ContourSequence,
            RAS_TO_LPS @ series.geometry.affine,
            SHAPE,
        )
        truth = Result(mask, grid, LABELS, "mask", series).on_series(mask)
        np.testing.assert_array_equal(seen, truth == 1)


def test_a_mask_on_another_grid_is_refused(make_series, tmp_path):
    series = find_series(make_series(Geometry(SHAPE, np.eye(4))))
    other = Volume(_mask()[None], Geometry(SHAPE, np.diag([2.0, 1, 1, 1])), "mask")
    with pytest.raises(DataError, match="mask does not lie on the grid of the DICOM series"):
        write_rtstruct(Result.of(other, LABELS, series), tmp_path / "o.dcm")
    assert not (tmp_path / "o.dcm").exists()


@pytest.mark.parametrize(
    ("letters", "patient"),
    [
        (None, "Doe^Jane"),
        ("ISO_IR 100", "Müller^Jörg"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        ("GB18030", "王^小东"),
    ],
)
def test_names_of_patients_and_structures_have_their_letters(
    make_series, tmp_path, letters, patient
):
    """In the structure set, the segmentation and the report, whatever letters the series has."""
    grid = Geometry(SHAPE, np.diag([-1, -1, 3, 1.0]))
    stated = {"SpecificCharacterSet": letters} if letters else {}
    series = find_series(make_series(grid, PatientName=patient, **stated))
    label = Label(value=1, name="Leberläsion 肝")
    result = Result((_mask() > 0).astype(np.uint8), grid, (label,), "mask", series)
    write_rtstruct(result, tmp_path / "contours.dcm")
    write_dicom_seg(result, tmp_path / "voxels.dcm", report=tmp_path / "report.dcm")
    contours, voxels, report = (
        pydicom.dcmread(tmp_path / f"{name}.dcm") for name in ("contours", "voxels", "report")
    )
    assert [str(one.PatientName) for one in (contours, voxels, report)] == [patient] * 3
    assert contours.StructureSetROISequence[0].ROIName == label.name
    assert voxels.SegmentSequence[0].SegmentLabel == label.name
    assert voxels.SegmentSequence[0].SpecificCharacterSet == "ISO_IR 192"  # OHIF needs it there
    assert label.name in str(report)
