"""Studies with masks in DICOM-SEG and RTSTRUCT are cases, without any conversion."""

import copy
import re

import numpy as np
import pydicom
import pytest
from pydicom.pixels import pack_bits
from pydicom.uid import generate_uid

from medssl.data.cache import CaseCache
from medssl.data.check import check
from medssl.data.dicom.rule import SeriesRule
from medssl.data.dicom.series import find_series
from medssl.data.geometry import Geometry
from medssl.data.labels import Code, Label
from medssl.data.layouts import all_cases, find_cases, listed_cases
from medssl.data.spec import make_spec
from medssl.data.volume import read_geometry, read_mask, read_volume
from medssl.errors import DataError
from medssl.export.dicom_seg import write_dicom_seg
from medssl.export.result import Result
from medssl.export.rtstruct import write_rtstruct
from medssl.transforms.chain import Preprocess
from tests.dicom_series import write_series

SHAPE = (11, 9, 6)
GRID = Geometry(
    SHAPE, np.array([[-0.5, 0, 0, 3], [0, -1.25, 0.4, 4], [0, 0, 3, 5], [0, 0, 0, 1.0]])
)
LIVER = Label(value=1, name="liver", code=Code(value="10200004", meaning="Liver"))
TUMOUR = Label(value=2, name="tumour")


def make_mask():
    """A liver with a hole, a tumour in it."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:10, 1:8, 1:4] = 1
    mask[4:6, 3:5, 2] = 0
    mask[7:9, 2:4, 3] = 2
    return mask


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSSL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data" / "tcia").mkdir(parents=True)
    return tmp_path / "data" / "tcia"


def spec_of(labels=("liver", "tumour"), **layout):
    plain = {
        "name": "tcia", "title": "TCIA", "modality": "MR", "channels": ["t1"], "root": "tcia",
        "labels": [
            {"value": number, "name": name} if isinstance(name, str) else name
            for number, name in enumerate(labels, start=1)
        ],
        "layout": {"kind": "dicom", "keep_ids": True, **layout},
        "licence": "none", "citation": "none",
    }  # fmt: skip
    return make_spec(plain, "here")


def rules(plain):
    return {channel: SeriesRule(**rule) for channel, rule in plain.items()}


def write_study(root, name, kind="binary", labels=(LIVER, TUMOUR), mask=None, **header):
    """A T1, a T2 and a mask, all in one heap; returns the mask of the T1."""
    folder, study = root / name, generate_uid()
    told = {"StudyInstanceUID": study, "PatientID": f"ID-{name}", **header}
    values = np.random.default_rng(0).integers(1, 500, SHAPE)
    write_series(folder / "t2", GRID, values, SeriesDescription="T2", **told)
    series = find_series(write_series(folder / "t1", GRID, values, SeriesDescription="T1", **told))
    mask = make_mask() if mask is None else mask
    if kind:
        fractions = np.stack([mask == value for value in (0, 1, 2)]).astype(np.float32)
        result = Result(mask, GRID, labels, "mask", series, fractions)
        if kind == "rtstruct":
            write_rtstruct(result, folder / "mask.dcm")
        else:
            write_dicom_seg(result, folder / "mask.dcm", kind)
    return mask


@pytest.mark.parametrize("kind", ["binary", "fractional", "labelmap", "rtstruct"])
def test_images_and_masks_are_those_of_the_study_voxel_for_voxel(root, kind):
    mask = write_study(root, "a", kind)
    (case,) = find_cases(spec_of())
    assert read_geometry(case.images["t1"]).matches(GRID)
    assert read_volume(case.images["t1"]).array.max() > 400
    found = read_mask(case.label)
    assert found.geometry.matches(GRID)
    np.testing.assert_array_equal(found.array[0], mask)
    assert not [one for one in check(spec_of()) if one.level == "error"]


def test_a_case_is_named_after_its_folder_and_a_patient_by_a_digest(root):
    for name in ("b", "a"):
        write_study(root, name)
    first, second = find_cases(spec_of())
    assert [first.id, second.id] == ["a", "b"]
    assert first.patient != second.patient
    assert not any("ID-" in case.patient for case in (first, second))


def test_the_patient_of_a_case_is_that_of_its_series(root):
    """Whatever else lies in its study."""
    write_study(root, "a")
    (alone,) = find_cases(spec_of())
    for path in (root / "a" / "t2").iterdir():
        other = pydicom.dcmread(path)
        other.PatientID = "ID-other"
        other.save_as(path.parents[1] / f"0{path.name}")
        path.unlink()
    (case,) = find_cases(spec_of())
    assert case.patient == alone.patient


def test_by_itself_a_case_has_a_name_that_says_nothing(root):
    write_study(root, "MUELLER^HANS", PatientID="ID-x")
    write_study(root, "MUELLER^HANS later", PatientID="ID-x")
    first, second = find_cases(spec_of(keep_ids=False))
    assert re.fullmatch("study_[0-9a-f]{12}", first.id)
    assert first.id != second.id
    assert first.patient == second.patient
    paths = list((root.parents[1] / "cache").rglob("*"))
    assert paths
    assert not any("MUELLER" in path.name for path in paths)


def test_segments_are_labels_by_the_names_that_are_given(root):
    write_study(root, "a", labels=(Label(value=1, name="GTV 1"), Label(value=2, name="GTV 2")))
    (case,) = find_cases(spec_of(["tumour"], segments={"tumour": ["gtv.*"]}))
    np.testing.assert_array_equal(read_mask(case.label).array[0], make_mask() > 0)


def test_segments_are_labels_by_their_code_where_names_differ(root):
    write_study(root, "a", labels=(LIVER.model_copy(update={"name": "Leber"}), TUMOUR))
    code = {"value": "10200004", "meaning": "Liver"}
    (case,) = find_cases(spec_of([{"value": 1, "name": "whole liver", "code": code}]))
    np.testing.assert_array_equal(read_mask(case.label).array[0], make_mask() == 1)


def test_where_no_structure_is_a_label_it_is_told_what_there_is(root):
    write_study(root, "a", labels=(Label(value=1, name="GTV"), Label(value=2, name="PTV")))
    sentence = "is a label of tcia; they are called GTV, PTV; say under `layout.segments` which"
    with pytest.raises(DataError, match=sentence):
        find_cases(spec_of())


def test_a_study_without_a_mask_is_unlabelled(root):
    write_study(root, "a")
    write_study(root, "b", kind="")
    assert [case.label is None for case in find_cases(spec_of())] == [False, True]


def test_two_masks_of_one_study_are_told_and_one_can_be_named(root):
    write_study(root, "a", mask=(mask := make_mask()))
    series = find_series(root / "a" / "t1")
    write_dicom_seg(Result(mask * 0, GRID, (LIVER, TUMOUR), "m", series), root / "a" / "second.dcm")
    again = pydicom.dcmread(root / "a" / "second.dcm")
    again.SeriesDescription = "reader two"
    again.save_as(root / "a" / "second.dcm")
    (fault,) = listed_cases(spec_of())[1]
    assert fault.what == "a has 2 masks of its labels: mask.dcm, second.dcm"
    (case,) = all_cases(spec_of(masks="reader two"))
    assert not read_mask(case.label).array.any()


def test_of_several_series_that_fit_the_one_that_was_drawn_on_is_taken(root):
    mask = write_study(root, "a")
    told = pydicom.dcmread(root / "a" / "t1" / "000.dcm")
    other = {"StudyInstanceUID": told.StudyInstanceUID, "PatientID": told.PatientID}
    write_series(root / "a" / "again", GRID, SeriesDescription="T1", **other)
    (case,) = find_cases(spec_of())
    assert read_volume(case.images["t1"]).array.any()  # the other one is black
    np.testing.assert_array_equal(read_mask(case.label).array[0], mask)


@pytest.mark.parametrize("drawn", ["ORIGINAL", "DERIVED"])
def test_a_mask_says_whether_the_original_or_what_is_derived_from_it_is_meant(root, drawn):
    mask = write_study(root, "a", ImageType=[drawn, "PRIMARY"])
    told = pydicom.dcmread(root / "a" / "t1" / "000.dcm")
    other = {"StudyInstanceUID": told.StudyInstanceUID, "PatientID": told.PatientID}
    kind = {"ORIGINAL": "DERIVED", "DERIVED": "ORIGINAL"}[drawn]
    folder = root / "a" / "again"
    write_series(folder, GRID, SeriesDescription="T1", ImageType=[kind, "PRIMARY"], **other)
    (case,) = find_cases(spec_of())
    assert read_volume(case.images["t1"]).array.any()  # the other one is black
    np.testing.assert_array_equal(read_mask(case.label).array[0], mask)


def test_a_mask_of_one_examination_is_none_of_another_that_shares_its_series(root):
    mask = write_study(root, "a")
    told = pydicom.dcmread(root / "a" / "t1" / "000.dcm")
    alike = ("StudyInstanceUID", "SeriesInstanceUID", "PatientID")
    other = {keyword: told[keyword].value for keyword in alike}
    for path in (root / "a" / "t1").iterdir():
        dated = pydicom.dcmread(path)
        dated.StudyDate = "20240101"
        dated.save_as(path)
    folder = root / "a" / "later"
    write_series(folder, GRID, StudyDate="20240601", SeriesDescription="T1", **other)
    for number, drawn in ((1, True), (2, False)):
        part = {"t1": {"part": f"examination {number}"}}
        (case,) = all_cases(spec_of().model_copy(update={"series": rules(part)}))
        assert read_volume(case.images["t1"]).array.any() == drawn  # the later one is black
        assert (case.label is not None) == drawn
        if drawn:
            np.testing.assert_array_equal(read_mask(case.label).array[0], mask)


def test_studies_that_cannot_be_told_are_faults_and_can_be_left_out(root):
    write_study(root, "a")
    study = generate_uid()
    for number in range(2):
        folder = root / "b" / str(number)
        write_series(folder, GRID, StudyInstanceUID=study, SeriesDescription="T1")
    (fault,) = listed_cases(spec_of())[1]
    assert fault.what.startswith("b has 2 series that may be the channel 't1': series 7, T1")
    with pytest.raises(DataError, match="b has 2 series"):
        find_cases(spec_of())
    assert [case.id for case in find_cases(spec_of(leave_out=["b*"]))] == ["a"]


def test_studies_of_another_kind_are_warned_of(root):
    write_study(root, "a")
    write_series(root / "b", GRID, SeriesDescription="head", Modality="CT")
    (warning,) = [one for one in check(spec_of()) if one.rule == "series"]
    assert warning.what == "the study b has no series for t1"
    assert [case.id for case in find_cases(spec_of())] == ["a"]


def test_headers_are_not_read_again_as_long_as_nothing_changes(root, monkeypatch):
    write_study(root, "a")
    first = find_cases(spec_of())
    with monkeypatch.context() as patched:
        patched.setattr("medssl.data.layouts.dicom.candidates_in", None)
        assert find_cases(spec_of()) == first
    write_study(root, "b")
    assert len(find_cases(spec_of())) == 2


def test_what_a_label_is_made_of_decides_what_is_cached(root, tmp_path):
    write_study(root, "a")
    chain = Preprocess.of({"mr": {"spacing": (1.0, 1.0, 3.0)}})
    found = []
    for names in (["liver"], ["tumour"]):
        spec = spec_of(["x"], segments={"x": names})
        (case,) = find_cases(spec)
        mask = CaseCache(tmp_path / "cache", spec, chain).open(case).mask
        found.append(int(np.count_nonzero(mask)))
    assert found[0] > found[1] > 0


def test_a_mask_on_another_grid_is_refused(root):
    write_study(root, "a")
    image = pydicom.dcmread(root / "a" / "mask.dcm")
    shared = image.SharedFunctionalGroupsSequence[0]
    shared.PixelMeasuresSequence[0].PixelSpacing = [1.3, 0.5]
    image.save_as(root / "a" / "mask.dcm")
    (case,) = find_cases(spec_of())
    with pytest.raises(DataError, match=r"mask\.dcm does not lie on the grid of its series"):
        read_mask(case.label)


def _of_no_segment(image):
    frame = image.PerFrameFunctionalGroupsSequence[0]
    frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 9


def _cut_contour(image):
    contour = image.ROIContourSequence[0].ContourSequence[0]
    contour.ContourData = contour.ContourData[:-3]


def _odd_contour(image):
    image.ROIContourSequence[0].ContourSequence[0].ContourGeometricType = "CLOSED"


@pytest.mark.parametrize(
    ("kind", "damage"),
    [("binary", _of_no_segment), ("rtstruct", _cut_contour), ("rtstruct", _odd_contour)],
)
def test_a_mask_of_which_a_part_would_be_lost_is_refused(root, kind, damage):
    write_study(root, "a", kind)
    image = pydicom.dcmread(root / "a" / "mask.dcm")
    damage(image)
    image.save_as(root / "a" / "mask.dcm")
    (case,) = find_cases(spec_of())
    with pytest.raises(DataError, match=r"mask\.dcm cannot be read; its header or its pixels"):
        read_mask(case.label)


def draw_liver_below_tumour(path):
    """As people draw it: the liver goes on where the tumour is."""
    image = pydicom.dcmread(path)
    if "ROIContourSequence" in image:
        liver, tumour = image.ROIContourSequence
        liver.ContourSequence += copy.deepcopy(list(tumour.ContourSequence))
    else:
        pixels, planes = image.pixel_array.copy(), {}
        for number, frame in enumerate(image.PerFrameFunctionalGroupsSequence):
            segment = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
            planes[segment, *frame.PlanePositionSequence[0].ImagePositionPatient] = number
        for (segment, *place), number in planes.items():
            if segment == 2:
                pixels[planes[1, *place]] |= pixels[number]
        packs = image.SegmentationType == "BINARY"
        image.PixelData = pack_bits(pixels) if packs else pixels.tobytes()
    image.save_as(path)


@pytest.mark.parametrize("kind", ["binary", "fractional", "rtstruct"])
def test_structures_that_overlap_are_told_and_later_labels_lie_over_earlier_ones(root, kind):
    mask = write_study(root, "a", kind)
    draw_liver_below_tumour(root / "a" / "mask.dcm")
    for labels, values, told in (
        (("liver", "tumour"), mask, ["tumour lies over liver in 4 voxels"]),
        (
            ("tumour", "liver"),
            2 * (mask > 0),
            ["liver lies over tumour in 4 voxels", "nothing is left of tumour"],
        ),
    ):
        spec = spec_of(labels)
        (case,) = find_cases(spec)
        found = read_mask(case.label)
        np.testing.assert_array_equal(found.array[0], values)
        assert list(found.remarks) == told
        warnings = [one for one in check(spec) if one.rule == "label values"]
        assert [one.what.split(": ")[-1] for one in warnings] == told
        assert {one.level for one in warnings} == {"warning"}
        assert "change their order" in warnings[0].do


def test_training_is_told_what_overlaps_also_by_the_cache(root, tmp_path):
    write_study(root, "a")
    draw_liver_below_tumour(root / "a" / "mask.dcm")
    (case,) = find_cases(spec_of())
    cache = CaseCache(tmp_path / "kept", spec_of(), Preprocess.of({"mr": {"spacing": (1, 1, 3)}}))
    for _ in range(2):
        assert cache.open(case).overlaps == ("tumour lies over liver in 4 voxels",)


def test_structures_of_one_label_may_overlap(root):
    mask = write_study(root, "a", labels=(Label(value=1, name="GTV 1"), TUMOUR))
    draw_liver_below_tumour(root / "a" / "mask.dcm")
    (case,) = find_cases(spec_of(["x"], segments={"x": ["gtv.*", "tumour"]}))
    found = read_mask(case.label)
    np.testing.assert_array_equal(found.array[0], mask > 0)
    assert not found.remarks


def test_a_structure_that_is_named_after_the_patient_is_told_without_the_name(root):
    labels = (LIVER, Label(value=2, name="Doe tumour"))
    write_study(root, "a", labels=labels)
    draw_liver_below_tumour(root / "a" / "mask.dcm")
    (case,) = find_cases(spec_of(("liver", "x"), segments={"x": [".*tumour"]}))
    assert read_mask(case.label).remarks == ("... tumour lies over liver in 4 voxels",)


def test_contours_closer_than_slices_make_no_holes(root):
    """Planning systems may draw each millimetre, whatever the slices are apart."""
    mask = write_study(root, "a", "rtstruct")
    path = root / "a" / "mask.dcm"
    drawn = pydicom.dcmread(path)
    normal = np.cross(*np.reshape(find_series(root / "a" / "t1").slices[0].directions, (2, 3)))
    for structure in drawn.ROIContourSequence:
        for contour in list(structure.ContourSequence):
            places = np.reshape(contour.ContourData, (-1, 3)).astype(float)
            smaller = places.mean(axis=0) + 0.6 * (places - places.mean(axis=0))
            for step in (-1, 1):
                other = copy.deepcopy(contour)
                other.ContourData = [f"{one:.4f}" for one in (smaller + step * normal).ravel()]
                structure.ContourSequence.append(other)
    drawn.save_as(path)
    (case,) = find_cases(spec_of())
    np.testing.assert_array_equal(read_mask(case.label).array[0], mask)


def test_outlines_of_every_second_slice_are_no_mask(root):
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:6, 2:6, 0:5:2] = 1
    write_study(root, "a", "rtstruct", mask=mask)
    (case,) = find_cases(spec_of())
    with pytest.raises(DataError, match=r"a structure on every 2\. slice alone, 3 times"):
        read_mask(case.label)


@pytest.mark.parametrize("slices", [(0, 2), (0, 1, 3), (0, 2, 5)])
def test_parts_of_a_structure_may_be_slices_apart(root, slices):
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:6, 2:6, slices] = 1
    write_study(root, "a", "rtstruct", mask=mask)
    (case,) = find_cases(spec_of())
    np.testing.assert_array_equal(read_mask(case.label).array[0], mask)
