"""Files and folders on the command line become cases."""

from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ImplicitVRLittleEndian

from medssl.errors import DataError, UsageError
from medssl.pipeline.inputs import find_inputs, stem


def touch(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in names]
    for path in paths:
        path.write_bytes(b"")
    return paths


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.b.nii.gz", "a.b"), ("x.NRRD", "x"), ("y.mha", "y"), ("z.txt", "z.txt")],
)
def test_stem_drops_only_image_endings(name: str, expected: str) -> None:
    assert stem(Path(name)) == expected


def test_each_file_is_a_case_named_after_it(tmp_path: Path) -> None:
    files = touch(tmp_path, "b.nii.gz", "a.nrrd")
    assert [(one.id, one.paths) for one in find_inputs(files, ["T1"])] == [
        ("b", (files[0],)),
        ("a", (files[1],)),
    ]


def test_channel_files_are_taken_in_the_checkpoints_order(tmp_path: Path) -> None:
    flair, t1 = touch(tmp_path / "p1", "p1_FLAIR.nii.gz", "p1_T1.nii.gz")
    (found,) = find_inputs([tmp_path / "p1"], ["T1", "FLAIR"])
    assert (found.id, found.paths) == ("p1", (t1, flair))


def test_numbered_channels_as_in_nnunet(tmp_path: Path) -> None:
    first, second = touch(tmp_path / "c", "c_0000.nii.gz", "c_0001.nii.gz")
    (found,) = find_inputs([tmp_path / "c"], ["T1", "FLAIR"])
    assert found.paths == (first, second)


def test_a_folder_without_images_is_left_to_the_dicom_reader(tmp_path: Path) -> None:
    touch(tmp_path / "series", "1.dcm", "2.dcm")
    (found,) = find_inputs([tmp_path / "series"], ["T1"])
    assert found.paths == (tmp_path / "series",)


def test_an_image_beside_a_dicom_series_is_told_not_guessed(tmp_path: Path) -> None:
    (image,) = touch(tmp_path / "p", "earlier_mask.nii.gz")
    slice_ = Dataset()
    slice_.SOPClassUID, slice_.SOPInstanceUID = CTImageStorage, "1.2.3"
    slice_.Rows, slice_.BitsAllocated, slice_.PixelData = 1, 16, b"\0\0"
    slice_.file_meta = FileMetaDataset()
    slice_.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    slice_.save_as(tmp_path / "p" / "1.dcm", enforce_file_format=True)
    sentence = rf"both a DICOM series \(1.dcm, ...\) and the image {image.name}; which of them"
    with pytest.raises(DataError, match=sentence):
        find_inputs([tmp_path / "p"], ["T1"])
    assert find_inputs([image], ["T1"])[0].paths == (image,)


def test_a_missing_channel_is_named(tmp_path: Path) -> None:
    touch(tmp_path / "p", "p_T1.nii.gz", "p_T2.nii.gz")
    with pytest.raises(DataError, match="channel 'FLAIR'"):
        find_inputs([tmp_path / "p"], ["T1", "FLAIR"])


def test_two_cases_of_one_name_are_refused(tmp_path: Path) -> None:
    files = touch(tmp_path / "p1", "image.nii.gz") + touch(tmp_path / "p2", "image.nii.gz")
    with pytest.raises(UsageError, match="both be written as 'image'"):
        find_inputs(files, ["T1"])


def test_missing_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        find_inputs([tmp_path / "no.nii.gz"], ["T1"])
    with pytest.raises(DataError, match="no known format"):
        find_inputs(touch(tmp_path, "notes.txt"), ["T1"])
