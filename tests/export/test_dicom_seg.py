"""DICOM-SEG: every labelled voxel stays where it is in the patient; highdicom is the judge."""

import io
import warnings

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from scipy.spatial import cKDTree

from medssl.data.dicom.series import find_series
from medssl.data.geometry import Geometry
from medssl.data.volume import Volume, read_geometry, write_mask
from medssl.errors import DataError, UsageError
from medssl.export.dicom_seg import export_dicom_seg, write_dicom_seg
from medssl.export.result import Result
from tests.dicom_series import RAS_TO_LPS
from tests.export.conftest import LABELS

SHAPE = (9, 7, 5)
VALUES = np.array([0, 1, 5, 2], np.uint8)
"""Background, then the values of LABELS: segment n has value VALUES[n]."""


@pytest.fixture
def straight():
    return Geometry(SHAPE, np.diag([0.5, 1.25, 3.0, 1.0]))


def write(mask, series, path, **options):
    """One DICOM-SEG of a mask and the folder of its series."""
    write_dicom_seg(Result.of(mask, LABELS, find_series(series)), path, **options)


def _blobs(shape):
    """Every label somewhere, none symmetric."""
    mask = np.zeros(shape, np.uint8)
    mask[1:4, 2:4, 0:2] = 1
    mask[5:7, 1:6, 1:3] = 5
    mask[2:3, 5:7, 2:5] = 2
    return mask


def _places(array, affine_lps):
    """Centres of the voxels of each label value, LPS mm."""
    return {
        int(value): np.argwhere(array == value) @ affine_lps[:3, :3].T + affine_lps[:3, 3]
        for value in np.unique(array[array > 0])
    }


def _read(path):
    """Values and LPS affine of a segmentation, as highdicom understands it."""
    volume = highdicom.seg.segread(path).get_volume(combine_segments=True)
    return VALUES[volume.array], volume.affine


def _same_places(one, other):
    assert one.keys() == other.keys()
    for value, places in one.items():
        assert len(places) == len(other[value])
        apart, _ = cKDTree(places).query(other[value])
        assert apart.max() < 1e-3


def _frames(path):
    """Places of the voxels of each segment, LPS mm, by pydicom alone; frames may be bits."""
    found, image = {}, pydicom.dcmread(path)
    pixels, shared = image.pixel_array, image.SharedFunctionalGroupsSequence[0]
    row, column = np.reshape(
        shared.PlaneOrientationSequence[0].ImageOrientationPatient, (2, 3)
    ).astype(float)
    down, along = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    for values, frame in zip(pixels, image.PerFrameFunctionalGroupsSequence, strict=True):
        place = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        named = frame.get("SegmentIdentificationSequence")
        plane = values * (named[0].ReferencedSegmentNumber if named else 1)
        for number in np.unique(plane[plane > 0]):
            rows, columns = np.nonzero(plane == number)
            places = place + np.outer(columns, along * row) + np.outer(rows, down * column)
            found.setdefault(int(VALUES[number]), []).append(places)
    return {value: np.concatenate(places) for value, places in found.items()}


TILTED = Geometry(SHAPE, np.array([[0.5, 0, 0, 3], [0, 1.25, 0.8, 4], [0, 0, 3, 5], [0, 0, 0, 1]]))
"""Each slice is shifted along the columns, as with a tilted gantry."""


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_every_voxel_keeps_its_place_in_the_patient(make_series, scanner_affine, tmp_path, kind):
    grid, mask, out = Geometry(SHAPE, scanner_affine), _blobs(SHAPE), tmp_path / "o.dcm"
    write(Volume(mask[None], grid, "mask"), make_series(grid), out, kind=kind)
    truth = _places(mask, RAS_TO_LPS @ scanner_affine)
    _same_places(_places(*_read(out)), truth)
    _same_places(_frames(out), truth)
    image = highdicom.get_volume_from_series(
        [pydicom.dcmread(file) for file in (tmp_path / "series").iterdir()]
    )
    found = highdicom.seg.segread(out).get_volume(combine_segments=True).match_geometry(image)
    assert found.array.shape == SHAPE[::-1]
    _same_places(_places(VALUES[found.array], found.affine), truth)


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_every_voxel_of_a_tilted_scan_keeps_its_place(make_series, tmp_path, kind):
    mask, out = _blobs(SHAPE), tmp_path / "o.dcm"
    write(Volume(mask[None], TILTED, "mask"), make_series(TILTED), out, kind=kind)
    _same_places(_frames(out), _places(mask, RAS_TO_LPS @ TILTED.affine))


def test_fractions_are_the_probabilities_to_half_a_step(make_series, scanner_affine, tmp_path):
    grid, out = Geometry(SHAPE, scanner_affine), tmp_path / "o.dcm"
    given = np.random.default_rng(0).dirichlet(np.ones(4), SHAPE).transpose(3, 0, 1, 2)
    result = Result(_blobs(SHAPE), grid, LABELS, "mask", find_series(make_series(grid)), given)
    write_dicom_seg(result, out, "fractional")
    image = highdicom.get_volume_from_series(
        [pydicom.dcmread(file) for file in (tmp_path / "series").iterdir()]
    )
    read = highdicom.seg.segread(out)
    found = read.get_volume(combine_segments=False).match_geometry(image)
    truth, turn = grid.oriented(result.referred.geometry.orientation)
    expected = turn.apply(given[1:]).transpose(3, 2, 1, 0)
    depth = np.dot(image.affine[:3, 0], (RAS_TO_LPS @ truth.affine)[:3, 2])
    expected = expected if depth > 0 else expected[::-1]
    np.testing.assert_allclose(found.array, expected, atol=0.5 / 255 + 1e-6)
    assert read.SegmentationFractionalType == "PROBABILITY"


def test_a_report_tells_the_volume_of_every_segment(make_series, tmp_path):
    mask, report = _blobs(SHAPE), tmp_path / "report.dcm"
    write(Volume(mask[None], TILTED, "m"), make_series(TILTED), tmp_path / "o.dcm", report=report)
    segmentation = pydicom.dcmread(tmp_path / "o.dcm")
    found = highdicom.sr.srread(report)
    groups = found.content.get_volumetric_roi_measurement_groups()
    assert found.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert [group.tracking_identifier for group in groups] == [label.name for label in LABELS]
    for number, (group, label) in enumerate(zip(groups, LABELS, strict=True), start=1):
        (volume,) = group.get_measurements()
        assert (volume.name.meaning, volume.unit.value) == ("Volume", "ml")
        expected = (mask == label.value).sum() * 0.5 * 1.25 * 3 / 1000
        assert volume.value == pytest.approx(expected)
        assert segmentation.SegmentSequence[number - 1].TrackingUID == group.tracking_uid
    uids = {
        one.ReferencedSOPInstanceUID
        for study in found.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }
    assert segmentation.SOPInstanceUID in uids
    assert len(uids) == 6  # five slices too


def test_a_file_with_other_axes_keeps_its_place_too(make_series, scanner_affine, tmp_path):
    grid = Geometry(SHAPE, scanner_affine)
    turned, turn = grid.oriented("SAL")
    mask = _blobs(SHAPE)
    write_mask(turn.apply(mask), turned, tmp_path / "mask.nii.gz")
    spec = tmp_path / "toy.yaml"
    spec.write_text(
        "{title: Toy, modality: MR, channels: [t1], root: toy, layout: {kind: glob}, licence: none,"
        "citation: none, labels: [{value: 1, name: a}, {value: 5, name: b}, {value: 2, name: c}]}"
    )
    series, out = make_series(grid), tmp_path / "o.dcm"
    export_dicom_seg(tmp_path / "mask.nii.gz", series, str(spec), out)
    _same_places(_places(*_read(out)), _places(mask, RAS_TO_LPS @ scanner_affine))


@pytest.mark.parametrize(
    "name", ["study3/11_HCropVolume", "study3/11-T1post-18670", "study1/13_HCropVolume"]
)
def test_a_mask_of_a_real_series_lies_on_its_slices(shared_data, tmp_path, name):
    series = shared_data / "dicom_brain" / name
    grid, mask = read_geometry(series), _blobs(read_geometry(series).shape)
    mask[mask == 5] = 0  # the hippocampus has two parts
    write_mask(mask, grid, tmp_path / "mask.nii.gz")
    out = tmp_path / "o.dcm"
    export_dicom_seg(tmp_path / "mask.nii.gz", series, "hippocampus", out)
    headers = [pydicom.dcmread(file) for file in series.iterdir()]
    image = highdicom.get_volume_from_series(headers)
    found = highdicom.seg.segread(out).get_volume(combine_segments=True).match_geometry(image)
    _same_places(_places(found.array, image.affine), _places(mask, RAS_TO_LPS @ grid.affine))
    written = pydicom.dcmread(out)
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert written[keyword].value == headers[0][keyword].value
    referred = written.ReferencedSeriesSequence[0]
    assert referred.SeriesInstanceUID == headers[0].SeriesInstanceUID
    assert {item.ReferencedSOPInstanceUID for item in referred.ReferencedInstanceSequence} == {
        header.SOPInstanceUID for header in headers
    }


def test_segments_carry_the_codes_of_the_labels(make_series, straight, tmp_path):
    mask = Volume(_blobs(SHAPE)[None], straight, "mask")
    write(mask, make_series(straight), tmp_path / "o.dcm")
    segments = pydicom.dcmread(tmp_path / "o.dcm").SegmentSequence
    assert [(one.SegmentNumber, one.SegmentLabel) for one in segments] == [
        (1, "hippocampus"),
        (2, "something new"),
        (3, "white matter"),
    ]

    def code(item):
        return item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning

    kinds = [code(one.SegmentedPropertyTypeCodeSequence[0]) for one in segments]
    assert kinds[0] == ("5366008", "SCT", "Hippocampus")
    assert kinds[1] == ("85756007", "SCT", "Tissue")  # nobody declared one
    categories = [code(one.SegmentedPropertyCategoryCodeSequence[0]) for one in segments]
    assert categories[0] == ("91723000", "SCT", "Anatomical Structure")
    assert categories[2] == ("85756007", "SCT", "Tissue")
    assert {one.SegmentAlgorithmType for one in segments} == {"AUTOMATIC"}
    algorithm = segments[0].SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmName == "medssl"
    assert algorithm.AlgorithmFamilyCodeSequence[0].CodeMeaning == "Artificial Intelligence"


def test_an_empty_mask_is_a_statement_too(make_series, straight, tmp_path):
    empty = Volume(np.zeros((1, *SHAPE), np.uint8), straight, "mask")
    write(empty, make_series(straight), tmp_path / "o.dcm")
    values, _ = _read(tmp_path / "o.dcm")
    assert values.shape == SHAPE[::-1]
    assert not values.any()


def test_an_empty_mask_is_warned_of(make_series, straight, tmp_path, checkpoint):
    write_mask(np.zeros(SHAPE, np.uint8), straight, tmp_path / "scan7.nii.gz")
    series = make_series(straight)
    told = export_dicom_seg(
        tmp_path / "scan7.nii.gz", series, str(checkpoint), tmp_path / "o.dcm", "labelmap"
    )
    assert told == [
        "the mask of scan7.nii.gz is empty; look whether there is nothing to find",
        "no code is known for something new: DICOM calls it Tissue (SCT 85756007); give the labels "
        "a code in the data spec",
    ]
    write_mask(_blobs(SHAPE) % 2, straight, tmp_path / "scan7.nii.gz")
    told = export_dicom_seg(
        tmp_path / "scan7.nii.gz", series, str(checkpoint), tmp_path / "o.dcm", "labelmap"
    )
    assert len(told) == 1


@pytest.mark.parametrize(
    ("shape", "kind", "told"),
    [((10, 9, 4), "binary", 1), ((10, 9, 4), "labelmap", 0), ((12, 8, 4), "binary", 0)],
)
def test_what_ohif_misreads_is_told_with_what_it_reads(make_series, tmp_path, shape, kind, told):
    grid = Geometry(shape, np.diag([1.0, 1, 2, 1]))
    write_mask(np.ones(shape, np.uint8), grid, tmp_path / "mask.nii.gz")
    given = make_series(grid), "hippocampus", tmp_path / "o.dcm", kind
    said = export_dicom_seg(tmp_path / "mask.nii.gz", *given)
    assert len(said) == told
    assert all("OHIF" in one and "10 x 9" in one and "label map" in one for one in said)


def test_series_without_what_may_be_empty_are_taken(make_series, straight, tmp_path):
    series = make_series(straight, PatientSex=None, SeriesNumber=None, PatientName=None)
    mask = Volume(_blobs(SHAPE)[None], straight, "mask")
    write(mask, series, tmp_path / "o.dcm")
    assert pydicom.dcmread(tmp_path / "o.dcm").SeriesNumber == 1000


def test_the_number_of_a_series_is_one_that_dicom_has(make_series, straight, tmp_path):
    series = make_series(straight, SeriesNumber=2**31 - 1)
    write(Volume(_blobs(SHAPE)[None], straight, "mask"), series, tmp_path / "o.dcm")
    assert pydicom.dcmread(tmp_path / "o.dcm").SeriesNumber == 2**31 - 1


def _shifted(grid):
    affine = grid.affine.copy()
    affine[0, 3] += 1
    return Geometry(SHAPE, affine), _blobs(SHAPE), "grid of the DICOM series; origin"


def _larger(grid):
    return Geometry((10, 7, 5), grid.affine), _blobs((10, 7, 5)), "shape 10x7x5 against 9x7x5"


def _undeclared(grid):
    return grid, _blobs(SHAPE) + 2, "holds the value 3; the labels declare 1, 5, 2"


def _too_large(grid):
    return grid, _blobs(SHAPE).astype(np.int32) * 1000, "holds the value 1000"


@pytest.mark.parametrize("wrong", [_shifted, _larger, _undeclared, _too_large])
def test_a_mask_that_does_not_belong_is_refused(make_series, straight, tmp_path, wrong):
    grid, mask, sentence = wrong(straight)
    with pytest.raises(DataError, match=sentence):
        write(Volume(mask[None], grid, "mask"), make_series(straight), tmp_path / "o.dcm")
    assert not (tmp_path / "o.dcm").exists()


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ({"StudyInstanceUID": None}, "lacks StudyInstanceUID"),
        ({"FrameOfReferenceUID": None}, "lacks FrameOfReferenceUID"),
        ({"PatientSex": "SECRET"}, "headers break the DICOM standard"),
        ({"StudyDate": "SECRET"}, "headers break the DICOM standard"),
        ({"StudyInstanceUID": "1.2.SECRET", "StudyDate": "x"}, "headers break the DICOM standard"),
    ],
    ids=str,
)
def test_headers_are_never_quoted(make_series, straight, tmp_path, caplog, header, sentence):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom dislikes writing such values
        series = make_series(straight, **header)
    caplog.clear()
    mask = Volume(_blobs(SHAPE)[None], straight, "mask")
    with (
        warnings.catch_warnings(record=True) as warned,
        pytest.raises(DataError, match=sentence) as refused,
    ):
        write(mask, series, tmp_path / "o.dcm")
    said = [str(refused.value), caplog.text, *(str(one.message) for one in warned)]
    assert not any("SECRET" in text or "Doe" in text for text in said)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["series"]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ("SOPInstanceUID", "several slices of one SOPInstanceUID"),
        ("PatientID", "slices of several patients"),
    ],
)
def test_slices_that_cannot_be_told_apart_are_not_referred_to(
    make_series, straight, tmp_path, changed, sentence
):
    series = make_series(straight)
    one, last = pydicom.dcmread(series / "000.dcm"), pydicom.dcmread(series / "004.dcm")
    last[changed].value = "OTHER" if changed == "PatientID" else one.SOPInstanceUID
    last.save_as(series / "004.dcm")
    mask = Volume(_blobs(SHAPE)[None], straight, "mask")
    with pytest.raises(DataError, match=sentence) as refused:
        write(mask, series, tmp_path / "o.dcm")
    assert "OTHER" not in str(refused.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["series"]


def test_a_slice_without_preamble_is_referred_to_as_the_others(make_series, straight, tmp_path):
    series = make_series(straight)
    last = series / "004.dcm"
    place = pydicom.dcmread(last).SOPInstanceUID
    last.write_bytes(last.read_bytes()[132:])
    mask = Volume(_blobs(SHAPE)[None], straight, "mask")
    write(mask, series, tmp_path / "o.dcm")
    named = pydicom.dcmread(tmp_path / "o.dcm").ReferencedSeriesSequence[0]
    uids = [one.ReferencedSOPInstanceUID for one in named.ReferencedInstanceSequence]
    assert len(uids) == 5
    assert place in uids


@pytest.mark.filterwarnings("ignore")  # pydicom dislikes writing such values
def test_no_junk_in_the_header_ends_in_anything_but_a_sentence(make_series, straight, tmp_path):
    series = make_series(straight)
    path, mask = series / "000.dcm", Volume(_blobs(SHAPE)[None], straight, "mask")
    content = path.read_bytes()
    told = []
    for tag in [element.tag for element in pydicom.dcmread(path)]:
        for junk in (b"", b"SECRET", b"9" * 400):
            header = pydicom.dcmread(io.BytesIO(content))
            kind = header[tag].VR
            header[tag] = RawDataElement(tag, kind, len(junk), junk, 0, False, True)
            header.save_as(path)
            try:
                write(mask, series, tmp_path / "o.dcm")
            except DataError as error:
                told.append(str(error))
    assert len(told) > 20
    assert not any("SECRET" in sentence or "Doe" in sentence for sentence in told)


def test_a_series_beside_an_image_is_told_not_guessed(make_series, straight, tmp_path):
    series = make_series(straight)
    mask = Volume(_blobs(SHAPE)[None], straight, "mask")
    write_mask(mask.array[0], straight, series / "earlier.nii.gz")
    with pytest.raises(DataError, match=r"both a DICOM series \(000.dcm, ...\) and the image"):
        write(mask, series, tmp_path / "o.dcm")


def test_wrong_names_are_told(tmp_path, straight):
    write_mask(_blobs(SHAPE), straight, tmp_path / "mask.nii.gz")
    with pytest.raises(UsageError, match=r"let it end in \.dcm"):
        export_dicom_seg(tmp_path / "mask.nii.gz", tmp_path, "hippocampus", tmp_path / "o.nii")
    with pytest.raises(DataError, match="nowhere is not a folder"):
        export_dicom_seg(
            tmp_path / "mask.nii.gz", tmp_path / "nowhere", "hippocampus", tmp_path / "o.dcm"
        )
