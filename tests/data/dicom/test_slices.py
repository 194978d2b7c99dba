"""Every slice is read or named: what counts as one, and what its header must say."""

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    BasicTextSRStorage,
    EnhancedMRImageStorage,
    MediaStorageDirectoryStorage,
    SegmentationStorage,
)

from medssl.data.check import check
from medssl.data.spec import DataSpec
from medssl.data.volume import read_geometry, read_volume
from medssl.errors import DataError

LAST = 811  # the highest value of the eight slices


@pytest.mark.parametrize(
    "name",
    ["README.txt", "notes.csv", "._000.dcm", ".DS_Store", "preview.jpg", "000.dcm.json", "README"],
)
def test_files_of_other_kinds_are_passed_over(eight, name):
    (eight / name).write_bytes(b"no DICOM")
    assert read_volume(eight).array.shape == (1, 4, 3, 8)


@pytest.mark.parametrize(
    "kind", [BasicTextSRStorage, MediaStorageDirectoryStorage, SegmentationStorage, "1.2.3.4.5"]
)
def test_dicom_objects_that_hold_no_slices_are_passed_over(eight, kind):
    other = dcmread(eight / "000.dcm")
    other.SOPClassUID = other.file_meta.MediaStorageSOPClassUID = kind
    other.SeriesInstanceUID = "1.2.99"
    if kind != SegmentationStorage:
        del other.PixelData, other.Rows, other.ImagePositionPatient
    other.save_as(eight / "other.dcm")
    assert read_volume(eight).array.shape == (1, 4, 3, 8)


@pytest.mark.parametrize("number", [0, 3, 7])
@pytest.mark.parametrize("meta", [True, False], ids=["with meta", "without meta"])
def test_a_slice_without_preamble_is_read(eight, number, meta):
    path = eight / f"{number:03}.dcm"
    whole = dcmread(path)
    path.write_bytes(path.read_bytes()[132:])
    if not meta:
        path.write_bytes(path.read_bytes()[12 + whole.file_meta.FileMetaInformationGroupLength :])
    assert dcmread(path, force=True).Rows == 3
    volume = read_volume(eight)
    assert volume.array[0, 0, 0].tolist() == [100, 200, 300, 400, 500, 600, 700, 800]


def test_floating_point_pixels_are_told_as_what_they_are(eight):
    one = dcmread(eight / "003.dcm")
    one.FloatPixelData = one.pixel_array.astype("<f4").tobytes()
    one.BitsAllocated = 32
    del one.PixelData
    one.save_as(eight / "003.dcm")
    with pytest.raises(DataError, match=r"003\.dcm cannot be read; it holds floating-point pixels"):
        read_volume(eight)


DAMAGE = {
    "empty": lambda content: b"",
    "cut within its header": lambda content: content[:500],
    "cut within its meta information": lambda content: content[:150],
    "cut within its pixels": lambda content: content[:-5],
    "without pixels": lambda content: content[:-36],
    "other bytes": lambda content: b"<html>404 not found</html>" * 30,
}


@pytest.mark.parametrize("number", [0, 3, 7])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_slice_is_named_and_refused(eight, number, damage):
    path = eight / f"{number:03}.dcm"
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with pytest.raises(DataError, match=rf"{path.name} cannot be read"):
        read_volume(eight)


def test_a_link_that_leads_nowhere_is_named_and_refused(eight):
    (eight / "007.dcm").rename(eight.parent / "moved")
    (eight / "007.dcm").symlink_to(eight.parent / "gone")
    with pytest.raises(DataError, match=r"007.dcm cannot be read.*No such file"):
        read_geometry(eight)


@pytest.mark.parametrize(
    ("pattern", "other", "refused"),
    [
        ("{:03}.dcm", "008.DCM", True),
        ("{:03}.dcm", "008.ima", True),
        ("{:03}.dcm", "008.dcm.gz", True),
        ("{:03}.dcm", "008.dcm.part", True),
        ("{:03}.dcm", "008", False),
        ("IM{:05}", "IM00008", True),
        ("IM{:05}", "README", False),
        ("IM{:05}", "readme1.txt", False),
        ("MR.1.2.840.{}", "MR.1.2.840.8", True),
        ("slice{}.img", "slice8.img", True),
        ("slice{}.img", "slice8.xml", False),
    ],
)
def test_a_file_that_is_no_dicom_is_refused_only_under_the_name_of_a_slice(
    tmp_path, write, pattern, other, refused
):
    for number in range(3):
        write(tmp_path / pattern.format(number), 3.0 * number)
    (tmp_path / other).write_bytes(b"no DICOM")
    if refused:
        with pytest.raises(DataError, match=f"{other} cannot be read.*no DICOM file"):
            read_volume(tmp_path)
    else:
        assert read_volume(tmp_path).geometry.shape == (4, 3, 3)


MUST_STATE = (
    "SeriesInstanceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "SamplesPerPixel",
    "PhotometricInterpretation",
)


def _change(path, change):
    header = dcmread(path)
    change(header)
    header.save_as(path)


@pytest.mark.parametrize("keyword", MUST_STATE)
def test_a_slice_that_lacks_a_tag_is_named(eight, keyword):
    _change(eight / "003.dcm", lambda header: delattr(header, keyword))
    with pytest.raises(
        DataError, match=rf"003.dcm lacks {keyword}; a slice must state it"
    ) as found:
        read_volume(eight)
    assert found.value.exit_code == 3


@pytest.mark.parametrize("keyword", [*MUST_STATE, "RescaleSlope", "RescaleIntercept"])
def test_a_slice_with_an_empty_tag_is_named(eight, keyword):
    _change(eight / "003.dcm", lambda header: setattr(header, keyword, None))
    with pytest.raises(DataError, match=rf"003.dcm has an empty {keyword}"):
        read_volume(eight)


JUNK = [
    ("ImagePositionPatient", b"1\\2"),
    ("ImagePositionPatient", b"1\\2\\nan "),
    ("ImagePositionPatient", b"a\\b\\c "),
    ("ImagePositionPatient", b"1,0\\2\\3 "),
    ("ImageOrientationPatient", b"1\\0\\0\\0\\1 "),
    ("ImageOrientationPatient", b"0\\0\\0\\0\\0\\0 "),
    ("ImageOrientationPatient", b"1\\0\\0\\1\\0\\0 "),
    ("PixelSpacing", b"2.0 "),
    ("PixelSpacing", b"0\\0 "),
    ("PixelSpacing", b"-2\\1"),
    ("PixelSpacing", b"inf\\1 "),
    ("RescaleSlope", b"SECRET"),
    ("RescaleSlope", b"0 "),
    ("RescaleSlope", b"1e308 "),
    ("RescaleIntercept", b"1\\2 "),
    ("Rows", b"\0\0"),
    ("Rows", b"\x03"),
    ("Columns", b"\x04\0\x04\0"),
    ("BitsAllocated", b"\x0c\0"),
    ("BitsStored", b"\x11\0"),
    ("HighBit", b"\x0b\0"),
    ("PixelRepresentation", b"\x02\0"),
    ("NumberOfFrames", b"many"),
]


@pytest.mark.parametrize(("keyword", "junk"), JUNK)
def test_a_slice_with_a_value_that_cannot_be_is_named_and_the_value_is_not(eight, keyword, junk):
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    def put(header):
        tag = Tag(keyword)
        kind = header[tag].VR if tag in header else "IS"
        header[tag] = RawDataElement(tag, kind, len(junk), junk, 0, False, True)

    _change(eight / "003.dcm", put)
    with pytest.raises(DataError, match=r"003.dcm (has|is)") as found:
        read_volume(eight)
    assert "SECRET" not in str(found.value)


def test_rows_without_end_are_refused_before_memory_is_taken(eight):
    _change(eight / "003.dcm", lambda header: setattr(header, "Rows", 65535))
    with pytest.raises(DataError, match=r"003.dcm is too large for a slice"):
        read_volume(eight)


OTHER_IMAGES = {
    "PALETTE COLOR": {"PhotometricInterpretation": "PALETTE COLOR"},
    "RGB": {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3},
    "a slope without intercept": {"RescaleIntercept": None},
    "an intercept without slope": {"RescaleSlope": None},
}


@pytest.mark.parametrize("name", OTHER_IMAGES)
def test_a_slice_that_cannot_be_read_as_grey_values_is_refused(tmp_path, write, name):
    write(tmp_path / "a.dcm", **OTHER_IMAGES[name])
    with pytest.raises(DataError, match=r"a\.dcm (has|is)"):
        read_volume(tmp_path)


def test_a_table_of_values_is_refused(eight):
    from pydicom.dataset import Dataset

    table = Dataset()
    table.LUTDescriptor, table.LUTData = [2, 0, 16], b"\0\0\1\0"
    _change(eight / "003.dcm", lambda header: setattr(header, "ModalityLUTSequence", [table]))
    with pytest.raises(DataError, match=r"003.dcm has a ModalityLUTSequence"):
        read_volume(eight)


def test_a_mosaic_is_no_slice(tmp_path, write):
    write(tmp_path / "a.dcm", ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"])
    with pytest.raises(DataError, match=r"a\.dcm is a mosaic; .*; convert the series to NIfTI"):
        read_volume(tmp_path)


def test_frames_that_do_not_say_how_far_they_are_apart_are_refused(tmp_path, write):
    values = np.zeros((6 * 3, 4), np.uint16)
    write(
        tmp_path / "mr.dcm", 0.0, values, Rows=3, NumberOfFrames=6,
        SOPClassUID=EnhancedMRImageStorage,
    )  # fmt: skip
    with pytest.raises(DataError, match=r"mr.dcm cannot be used as a volume; its frames"):
        read_geometry(tmp_path)


def test_one_frame_that_says_so_is_a_slice(eight):
    _change(eight / "003.dcm", lambda header: setattr(header, "NumberOfFrames", 1))
    assert read_volume(eight).array.max() == LAST


def test_the_check_names_every_bad_series_and_goes_on_to_the_others(eight, write):
    root = eight.parent
    for name in ("lacking", "frames"):
        (root / name).mkdir()
    write(root / "lacking" / "0.dcm", PixelSpacing=None)
    write(root / "frames" / "0.dcm", NumberOfFrames=2)
    rows = ["case,ct", "lacking,lacking", "frames,frames", "good,eight", "none,absent"]
    (root / "cases.csv").write_text("\n".join(rows))
    spec = DataSpec(
        name="x", title="x", modality="CT", channels=("ct",), licence="x", citation="none",
        root=str(root), layout={"kind": "table"},
    )  # fmt: skip
    assert [(one.case, one.rule) for one in check(spec)] == [
        ("lacking", "unreadable"),
        ("frames", "unreadable"),
        ("none", "missing image"),
    ]
