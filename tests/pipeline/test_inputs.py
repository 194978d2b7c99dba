"""Files and folders on the command line become cases."""

import os
import re
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ImplicitVRLittleEndian

from medssl.data.files import SUFFIXES
from medssl.data.volume import read_volume
from medssl.errors import DataError, UsageError
from medssl.pipeline.inputs import files_by_name, find_inputs, paths_of


def test_a_key_among_the_files_is_told_how_to_give_it() -> None:
    with pytest.raises(DataError, match=r"does not exist; .* give it as --set flips=true"):
        find_inputs([Path("flips=true")], ["t1"])


def touch(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in names]
    for path in paths:
        path.write_bytes(b"")
    return paths


def test_each_file_is_a_case_named_after_it(tmp_path: Path) -> None:
    files = touch(tmp_path, "b.nii.gz", "a.nrrd")
    found = find_inputs(files, ["T1"])
    assert list(found.items()) == [("b", (files[0],)), ("a", (files[1],))]


def test_channel_files_are_taken_in_the_checkpoints_order(tmp_path: Path) -> None:
    flair, t1 = touch(tmp_path / "p1", "p1_FLAIR.nii.gz", "p1_T1.nii.gz")
    assert find_inputs([tmp_path / "p1"], ["T1", "FLAIR"]) == {"p1": (t1, flair)}


def test_numbered_channels_as_in_nnunet(tmp_path: Path) -> None:
    first, second = touch(tmp_path / "c", "c_0000.nii.gz", "c_0001.nii.gz")
    assert find_inputs([tmp_path / "c"], ["T1", "FLAIR"]) == {"c": (first, second)}


def test_a_folder_without_images_is_left_to_the_dicom_reader(tmp_path: Path) -> None:
    touch(tmp_path / "series", "1.dcm", "2.dcm")
    assert find_inputs([tmp_path / "series"], ["T1"]) == {"series": (tmp_path / "series",)}


def write_slice(path: Path, **header: str) -> None:
    slice_ = Dataset()
    slice_.SOPClassUID, slice_.SOPInstanceUID = CTImageStorage, "1.2.3"
    slice_.Rows, slice_.BitsAllocated, slice_.PixelData = 1, 16, b"\0\0"
    slice_.ImagePositionPatient = [0, 0, 0]  # which pictures do not have
    for keyword, value in header.items():
        setattr(slice_, keyword, value)
    slice_.file_meta = FileMetaDataset()
    slice_.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    slice_.save_as(path, enforce_file_format=True)


def test_an_image_beside_a_dicom_series_is_told_not_guessed(tmp_path: Path) -> None:
    (image,) = touch(tmp_path / "p", "earlier_mask.nii.gz")
    write_slice(tmp_path / "p" / "1.dcm")
    sentence = rf"both a DICOM series \(1.dcm, ...\) and the image {image.name}; which of them"
    with pytest.raises(DataError, match=sentence):
        find_inputs([tmp_path / "p"], ["T1"])
    assert find_inputs([image], ["T1"]) == {"earlier_mask": (image,)}


@pytest.mark.parametrize(
    "masks",
    [
        ["liver.nii.gz"],
        ["Liver.nii.gz", "left kidney.nii.gz"],
        ["scan_liver.nii.gz", "left_kidney_scan.nii.gz"],
        ["liver.nii.gz", "spleen_seg.nii.gz"],
    ],
)
def test_masks_that_are_called_after_labels_are_no_scans(tmp_path: Path, masks: list[str]) -> None:
    scan, first, *_ = touch(tmp_path / "p", "scan.nii.gz", *masks)
    said: list[str] = []
    labels = ["liver", "left_kidney"]
    assert find_inputs([tmp_path / "p"], ["T1"], said.append, labels=labels) == {"p": (scan,)}
    assert "are masks by their names and are not predicted" in said[0]
    assert find_inputs([first], ["T1"], labels=labels)  # asked for by name


def test_a_scan_may_be_called_after_a_label(tmp_path: Path) -> None:
    """As those of LiTS; and a channel may be."""
    touch(tmp_path / "all", "liver_0.nii.gz", "liver_1.nii.gz", "xliver.nii.gz", "x.nii.gz")
    found = find_inputs([tmp_path / "all"], ["T1"], labels=["liver"])
    assert list(found) == ["liver_0", "liver_1", "x", "xliver"]
    t1, t2 = touch(tmp_path / "p", "t1.nii.gz", "t2.nii.gz")
    assert find_inputs([tmp_path / "p"], ["t1", "t2"], labels=["t2"]) == {"p": (t1, t2)}


def test_a_missing_channel_is_named(tmp_path: Path) -> None:
    touch(tmp_path / "p", "p_T1.nii.gz", "p_T2.nii.gz")
    with pytest.raises(DataError, match="channel 'FLAIR'"):
        find_inputs([tmp_path / "p"], ["T1", "FLAIR"])


def test_two_cases_of_one_name_are_refused(tmp_path: Path) -> None:
    files = touch(tmp_path / "p1", "image.nii.gz") + touch(tmp_path / "p2", "image.nii.gz")
    with pytest.raises(UsageError, match=r"both be written as 'image'.*keep its scan alone"):
        find_inputs(files, ["T1"])


def test_missing_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        find_inputs([tmp_path / "no.nii.gz"], ["T1"])
    with pytest.raises(DataError, match="no known format"):
        find_inputs(touch(tmp_path, "notes.txt"), ["T1"])


def test_hidden_copies_beside_an_image_are_passed_over(tmp_path: Path) -> None:
    t1, _ = touch(tmp_path / "case_apple", "t1.nii.gz", "._t1.nii.gz")
    assert find_inputs([tmp_path / "case_apple"], ["t1"]) == {"case_apple": (t1,)}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_type_that_can_be_read_can_be_predicted(tmp_path: Path, suffix: str) -> None:
    small, capital = touch(tmp_path, f"a{suffix}", f"b{suffix.upper()}")
    assert list(find_inputs([small, capital], ["t1"])) == ["a", "b"]


def test_a_hidden_file_is_no_input(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a hidden file"):
        find_inputs(touch(tmp_path, "._t1.nii.gz"), ["t1"])


def test_outputs_need_names_that_fit_every_disk(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Windows keeps it"):
        find_inputs(touch(tmp_path, "con.nii.gz"), ["t1"])
    with pytest.raises(DataError, match="one of the characters"):
        find_inputs(touch(tmp_path, "<script>.nii.gz"), ["t1"])
    with pytest.raises(DataError, match="does not exist"):
        find_inputs([tmp_path / ("x" * 300)], ["t1"])


def test_names_that_differ_in_capitals_alone_would_be_one_output(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="do not tell capitals apart"):
        find_inputs(touch(tmp_path, "a.nii", "A.nii.gz"), ["t1"])


def test_files_of_a_folder_are_those_that_can_be_seen(tmp_path: Path) -> None:
    path, _ = touch(tmp_path / "in", "a.x", "._a.x")
    found = files_by_name([tmp_path / "in"], Path.is_file, lambda path: path.stem, "file", "any")
    assert found == {"a": path}


def test_a_folder_of_scans_is_a_case_for_each(tmp_path: Path) -> None:
    first, second = touch(tmp_path / "scans", "a.nii.gz", "b.nrrd")
    assert find_inputs([tmp_path / "scans"], ["T1"]) == {"a": (first,), "b": (second,)}


def test_channels_of_several_cases_may_lie_side_by_side(tmp_path: Path) -> None:
    a0, a1, b0, b1 = touch(tmp_path / "s", "a_t1.nii", "a_flair.nii", "b_0000.nii", "b_0001.nii")
    assert find_inputs([tmp_path / "s"], ["t1", "flair"]) == {"a": (a0, a1), "b": (b0, b1)}
    a1.unlink()
    with pytest.raises(DataError, match="which file is the channel 'flair' of a; 1 of its 3"):
        find_inputs([tmp_path / "s"], ["t1", "flair"])


def test_a_folder_of_case_folders_is_a_case_for_each(tmp_path: Path) -> None:
    a = touch(tmp_path / "s" / "a", "t1.nii.gz", "flair.nii.gz")
    b = touch(tmp_path / "s" / "b" / "2020", "t1.nii.gz", "flair.nii.gz")
    found = find_inputs([tmp_path / "s"], ["t1", "flair"])
    assert found == {"a": tuple(a), "b_2020": tuple(b)}


def test_of_two_images_in_a_case_folder_none_is_guessed(tmp_path: Path) -> None:
    touch(tmp_path / "s" / "a", "scan.nii.gz")
    touch(tmp_path / "s" / "b", "axial.nii.gz", "coronal.nii.gz")
    touch(tmp_path / "s" / "c", "c1.nii.gz", "c2.nii.gz")
    sentence = (
        r"b holds 2 images, axial\.nii\.gz, coronal\.nii\.gz, and 1 more hold several, c; "
        r".* one image; let the name .* end in 't1', as t1\.nii\.gz, .* --manifest; .* itself"
    )
    with pytest.raises(DataError, match=sentence):
        find_inputs([tmp_path / "s"], ["t1"])
    assert list(find_inputs([tmp_path / "s" / "b"], ["t1"])) == ["axial", "coronal"]


def test_images_that_are_taken_for_a_case_each_are_told(tmp_path: Path) -> None:
    folder, said = tmp_path / "case_07", list[str]()
    touch(folder, "axial.nii.gz", "coronal.nii.gz")
    assert list(find_inputs([folder], ["t1"], said.append)) == ["axial", "coronal"]
    assert said == [
        f"2 in {folder} are taken for 2 cases, axial.nii.gz, coronal.nii.gz; where they are one, "
        "let the name of the image that is meant end in 't1'"
    ]
    said.clear()
    find_inputs([folder / "axial.nii.gz"], ["t1"], said.append)
    assert not said


@pytest.mark.parametrize(
    "names", [["t2.nii.gz", "flair.nii.gz"], ["p_T2.nii.gz", "p_FLAIR.nii.gz", "p_DWI.nii.gz"]]
)
def test_contrasts_of_a_case_are_no_scans_though_the_folder_is_named(
    tmp_path: Path, names: list[str]
) -> None:
    files = touch(tmp_path / "p", *names)
    with pytest.raises(DataError, match=r"contrasts of one case, .*name the files one by one"):
        find_inputs([tmp_path / "p"], ["t1"])
    assert len(find_inputs(files, ["t1"])) == len(files)


def test_contrasts_of_several_cases_side_by_side_are_chosen_by_the_channels_name(
    tmp_path: Path,
) -> None:
    for names in (["t1", "flair"], ["0000", "0001"]):
        folder, said = tmp_path / names[0], list[str]()
        touch(folder, *[f"{case}_{name}.nii.gz" for case in "ab" for name in names])
        found = find_inputs([folder], ["t1"], said.append)
        assert list(found) == [f"a_{names[0]}", f"b_{names[0]}"]
        assert said[0].startswith(f"2 in {folder} are not called after a channel of the model")


def test_scans_that_are_numbered_with_four_digits_are_no_contrasts(tmp_path: Path) -> None:
    touch(tmp_path / "s", *[f"scan_000{number}.nii.gz" for number in range(1, 6)])
    assert len(find_inputs([tmp_path / "s"], ["t1"])) == 5


def test_the_channels_name_chooses_among_the_images_of_a_case(tmp_path: Path) -> None:
    for case in ("a", "b"):
        touch(tmp_path / case, "t1.nii.gz", "flair.nii.gz")
    said: list[str] = []
    found = find_inputs([tmp_path], ["t1"], said.append)
    assert found == {case: (tmp_path / case / "t1.nii.gz",) for case in ("a", "b")}
    (told,) = said
    assert told.startswith(
        f"2 in {tmp_path / 'a'} and 1 more folder are not called after a channel"
    )
    assert "(t1)" in told
    assert told.endswith("not predicted, first flair.nii.gz")


@pytest.mark.parametrize("name", ["images", "imagesTs", "train", "site_1", "scans"])
def test_a_folder_that_says_so_holds_a_case_in_each_image(tmp_path: Path, name: str) -> None:
    touch(tmp_path / name, "a.nii.gz", "b.nii.gz")
    assert list(find_inputs([tmp_path], ["t1"])) == ["a", "b"]


def test_each_picture_in_a_folder_is_a_case(tmp_path: Path) -> None:
    touch(tmp_path / "polyps" / "day_1", "a.png", "b.png")
    assert list(find_inputs([tmp_path / "polyps"], ["grey"])) == ["a", "b"]


def test_a_tree_of_dicom_series_is_a_case_for_each(tmp_path: Path) -> None:
    for name in ("p1/s1", "p2/s1"):
        write_slice(tmp_path / "tree" / name / "1.dcm")
    found = find_inputs([tmp_path / "tree"], ["T1"], keep_ids=True)
    assert {name: paths_of(given) for name, given in found.items()} == {
        "p1_s1": (tmp_path / "tree/p1/s1/1.dcm",),
        "p2_s1": (tmp_path / "tree/p2/s1/1.dcm",),
    }


def test_the_series_of_one_study_are_one_case_named_after_its_folder(tmp_path: Path) -> None:
    for study, place in (("1.1", "p1/s1"), ("1.1", "p1/s2"), ("1.2", "p2")):
        write_slice(tmp_path / "tree" / place / "1.dcm", StudyInstanceUID=study)
    found = find_inputs([tmp_path / "tree"], ["T1"], keep_ids=True)
    assert {name: len(paths_of(given)) for name, given in found.items()} == {"p1": 2, "p2": 1}


def test_studies_in_one_heap_are_named_apart(tmp_path: Path) -> None:
    for number, study in enumerate(("1.1", "1.2")):
        write_slice(tmp_path / "heap" / f"{number}.dcm", StudyInstanceUID=study)
    first, second = find_inputs([tmp_path / "heap"], ["T1"], keep_ids=True)
    assert first != second
    assert all(re.fullmatch(r"heap_[0-9a-f]{12}", name) for name in (first, second))


def test_a_folder_of_one_series_is_taken_as_its_owner_chose_it(tmp_path: Path) -> None:
    write_slice(tmp_path / "s" / "1.dcm", StudyInstanceUID="1.1", SeriesInstanceUID="1.2")
    found = find_inputs([tmp_path / "s"], ["T1"])
    assert list(found.values()) == [(tmp_path / "s",)]
    assert find_inputs([tmp_path / "s"], ["T1"], keep_ids=True) == {"s": (tmp_path / "s",)}


def test_a_study_of_which_no_file_is_dicom_any_more_is_told(tmp_path: Path) -> None:
    """Beside others; what lies beside a study is refused where that is read."""
    write_slice(tmp_path / "in" / "p1" / "1.dcm", StudyInstanceUID="1.1")
    write_slice(tmp_path / "in" / "p2" / "1.dcm", StudyInstanceUID="1.2")
    for name in ("p1/2.dcm", "p3/1.dcm", "p3/2.dcm", "p4/1.DCM", "p4/notes.txt"):
        path = tmp_path / "in" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"cut off")
    said: list[str] = []
    found = find_inputs([tmp_path / "in"], ["T1"], said.append, keep_ids=True)
    assert list(found) == ["p1", "p2"]
    assert said == [
        f"3 in {tmp_path / 'in' / 'p3'} and 1 more folder are called DICOM, but hold none, and no "
        "study is made of them, first 1.dcm; copy them again"
    ]


def test_how_far_reading_is_is_told_of_many_files_alone(tmp_path: Path) -> None:
    for number in range(1001):
        (tmp_path / f"{number}").touch()
    write_slice(tmp_path / "p" / "1.dcm", StudyInstanceUID="1.1")
    told: list[tuple[int, int | None]] = []
    find_inputs([tmp_path], ["T1"], on_progress=lambda *counts: told.append(counts))
    assert told == [(500, 1002), (1000, 1002)]
    find_inputs([tmp_path / "p"], ["T1"], on_progress=lambda *counts: told.append(counts))
    assert len(told) == 2


def test_masks_beside_scans_are_passed_over_and_told(tmp_path):
    for name in ("scan_1", "scan_2", "seg_1"):
        (tmp_path / f"{name}.nii.gz").touch()
    told = []
    assert list(find_inputs([tmp_path], ["t1"], told.append)) == ["scan_1", "scan_2"]
    masks, scans = told
    assert masks.startswith(f"1 in {tmp_path} are masks by their names and are not predicted")
    assert scans.startswith(f"2 in {tmp_path} are taken for 2 cases, scan_1.nii.gz, scan_2")
    named = find_inputs([tmp_path / "seg_1.nii.gz"], ["t1"], told.append)
    assert (list(named), len(told)) == (["seg_1"], 2)  # who names it, means it


def test_a_folder_of_masks_beside_one_of_scans_is_passed_over(tmp_path):
    for name in ("images/a", "images/b", "masks/a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.nii.gz").touch()
    found = find_inputs([tmp_path], ["t1"])
    assert [paths_of(one)[0].parent.name for one in found.values()] == ["images", "images"]


def test_an_empty_folder_is_told(tmp_path):
    with pytest.raises(DataError, match="holds no image; looked for NIfTI"):
        find_inputs([tmp_path], ["t1"])


def test_what_is_no_file_is_told_and_not_waited_for(tmp_path):
    pipe = tmp_path / "scan.nii.gz"
    os.mkfifo(pipe)
    with pytest.raises(DataError, match="is neither a file nor a folder; copy its content"):
        find_inputs([pipe], ["t1"])
    with pytest.raises(DataError, match="is neither a file nor a folder; copy its content"):
        read_volume(pipe)


@pytest.mark.parametrize("count", [5, 12])
def test_many_scans_that_are_counted_from_0000_are_scans(tmp_path, count):
    for number in range(count):
        (tmp_path / f"scan_{number:04}.nii.gz").touch()
    told = []
    assert len(find_inputs([tmp_path], ["t1"], told.append)) == count
    assert f"are taken for {count} cases" in told[0]


def test_a_few_numbers_are_channels_of_one_case(tmp_path):
    for number in range(4):
        (tmp_path / f"case_{number:04}.nii.gz").touch()
    told = []
    ((_, taken),) = find_inputs([tmp_path], ["t1"], told.append).items()
    assert [path.name for path in paths_of(taken)] == ["case_0000.nii.gz"]
    assert "3 in" in told[0]
    assert "are not called after a channel" in told[0]
