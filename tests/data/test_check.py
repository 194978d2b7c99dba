"""Each way a data set can be wrong: the file and the remedy in one sentence."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medssl.data import case_checks
from medssl.data.case_checks import Verdict
from medssl.data.check import check, folded
from medssl.data.geometry import Geometry
from medssl.data.guess import guess_spec
from medssl.data.layouts import find_cases
from medssl.data.spec import DataSpec, load_spec
from medssl.data.volume import write_mask, write_volume
from medssl.errors import DataError, UsageError
from tests.data.conftest import GRID, SHAPE, declare, image, mask, radiographs, write_dicom
from tests.dicom_series import write_series

IMAGE, LABEL = "imagesTr/b.nii.gz", "labelsTr/b.nii.gz"


def check_folder(folder: Path) -> list[Verdict]:
    """As `medssl data check FOLDER`."""
    return check(guess_spec(folder), guessed=True)


def series(folder: Path) -> None:
    """A DICOM series in a new folder."""
    write_series(folder, GRID, image(1) + 100)


def only(verdicts: list[Verdict]) -> Verdict:
    """The one error, whatever warnings there are."""
    (found,) = [verdict for verdict in verdicts if verdict.level == "error"]
    return found


def turned(degrees: float) -> Geometry:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[cos, -sin, 0, 0], [sin, cos, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    return Geometry(SHAPE, GRID.affine @ turn)


def write_channels(path: Path, count: int) -> None:
    import nibabel

    array = np.stack([image(seed) for seed in range(count)], axis=-1)
    nibabel.save(nibabel.Nifti1Image(array, GRID.affine), path)


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def with_value(value: float) -> np.ndarray:
    array = image(1)
    array[0, 0, 0] = value
    return array


BROKEN: dict[str, tuple[Callable[[Path], object], str, str, str]] = {
    "missing image": (
        lambda root: (root / IMAGE).unlink(),
        "missing image", LABEL, "has no image; add the image",
    ),
    "shape": (
        lambda root: write_mask(mask(1)[..., 1:], Geometry((6, 7, 7), GRID.affine), root / LABEL),
        "geometry", LABEL, "shape 6x7x7 against 6x7x8; resample",
    ),
    "spacing": (
        lambda root: write_mask(mask(1, 2), Geometry(SHAPE, np.eye(4)), root / LABEL),
        "geometry", LABEL, "spacing (1, 1, 1) mm against (1, 1, 2) mm; resample",
    ),
    "orientation": (
        lambda root: write_mask(mask(1, 2), turned(90), root / LABEL),
        "geometry", LABEL, "orientation ALS against RAS",
    ),
    "a slight turn": (
        lambda root: write_mask(mask(1, 2), turned(2), root / LABEL),
        "geometry", LABEL, "orientation, by 2 degrees",
    ),
    "channels": (
        lambda root: write_channels(root / IMAGE, 3),
        "channels", IMAGE, "has 3 channels instead of 1; split",
    ),
    "undeclared values": (
        lambda root: write_mask(mask(1, 9, 7), GRID, root / LABEL),
        "label values", LABEL, "holds 7, 9 where only 0, 1, 2 are declared; correct the mask",
    ),
    "fractions": (
        lambda root: write_volume(mask(1, 2) * np.float32(0.5), GRID, root / LABEL),
        "unreadable", LABEL, "not whole numbers: 0.5; export it as integers",
    ),
    "NaN": (
        lambda root: write_volume(with_value(np.nan), GRID, root / IMAGE),
        "non-finite", IMAGE, "has 1 voxels that are not finite",
    ),
    "infinite": (
        lambda root: write_volume(with_value(-np.inf), GRID, root / IMAGE),
        "non-finite", IMAGE, "has 1 voxels that are not finite",
    ),
    "constant": (
        lambda root: write_volume(np.full(SHAPE, 5.0), GRID, root / IMAGE),
        "constant", IMAGE, "has the value 5 in every voxel; export",
    ),
    "truncated image": (
        lambda root: truncate(root / IMAGE),
        "unreadable", IMAGE, "packed voxels are cut off or damaged; copy or download it again",
    ),
    "truncated label": (
        lambda root: truncate(root / LABEL),
        "unreadable", LABEL, "truncated, damaged or not an image; copy",
    ),
    "no image inside": (
        lambda root: (root / IMAGE).write_text("not an image"),
        "unreadable", IMAGE, "not begin as a NIfTI file does; copy or download it again",
    ),
    "no bytes": (
        lambda root: (root / IMAGE).write_bytes(b""),
        "unreadable", IMAGE, "is empty",
    ),
    "empty mask": (
        lambda root: write_mask(mask(), GRID, root / LABEL),
        "empty mask", LABEL, "marks no voxel; draw the mask",
    ),
    "the same scan twice": (
        lambda root: write_volume(image(0), GRID, root / IMAGE),
        "duplicate", IMAGE, "has exactly the voxels of",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_one_fault_is_one_verdict_that_names_file_and_remedy(toy: Path, name: str) -> None:
    spoil, rule, file, sentence = BROKEN[name]
    spoil(toy)
    verdict = only(check(declare(toy)))
    assert (verdict.rule, verdict.file, verdict.case) == (rule, toy / file, "b")
    assert str(toy / file) in verdict.what
    said = f"{verdict.what}; {verdict.do}"
    assert sentence in said
    assert "\n" not in said


def test_a_sound_data_set_has_no_verdict(toy: Path) -> None:
    assert check(declare(toy)) == []


def test_all_faults_are_found_in_one_pass_in_the_order_of_cases(toy: Path) -> None:
    truncate(toy / "imagesTr/c.nii.gz")
    (toy / "imagesTr/a.nii.gz").unlink()
    write_mask(mask(), GRID, toy / LABEL)
    verdicts = check(declare(toy), workers=3)
    assert [verdict.case for verdict in verdicts] == ["a", "b", "c"]


def test_progress_counts_every_case(toy: Path) -> None:
    seen: list[tuple[int, int]] = []
    check(declare(toy), on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_empty_masks_may_be_meant(toy: Path) -> None:
    write_mask(mask(), GRID, toy / "labelsTr/c.nii.gz")
    assert check(declare(toy, empty_masks=True)) == []


def test_labels_may_be_missing_but_not_all_that_are_declared(toy: Path) -> None:
    (toy / LABEL).unlink()
    assert check(declare(toy)) == []
    earlier = declare(toy, layout={"kind": "decathlon", "unlabelled": True})
    assert earlier == declare(toy)
    names = {"t1": "imagesTr/{case}.nii.gz"}
    lost = {"kind": "glob", "images": names, "label": "masks/{case}.nii.gz"}
    (verdict,) = check(declare(toy, layout=lost))
    assert (verdict.level, verdict.rule, verdict.file) == ("warning", "missing label", toy)
    assert "none of the 3 cases of toy" in verdict.what
    assert "no file fits `label: masks/{case}.nii.gz`" in verdict.what


def test_verdicts_that_differ_in_the_case_alone_are_folded(toy: Path) -> None:
    for name in "ab":
        write_mask(mask(1, 7), GRID, toy / f"labelsTr/{name}.nii.gz")
    write_mask(mask(1, 8), GRID, toy / "labelsTr/c.nii.gz")
    assert [[one.case for one in group] for group in folded(check(declare(toy)))] == [
        ["a", "b"],
        ["c"],
    ]


def table(root: Path, rows: str, **keys: Any) -> DataSpec:
    (root / "cases.csv").write_text("case,patient,t1,label,part\n" + rows)
    return declare(root, layout={"kind": "table"}, **keys)


def test_patients_on_both_sides_of_a_declared_split_are_named(toy: Path) -> None:
    rows = "a,p1,imagesTr/a.nii.gz,labelsTr/a.nii.gz,train\n"
    rows += "b,p1,imagesTr/b.nii.gz,labelsTr/b.nii.gz,test\n"
    verdict = only(check(table(toy, rows)))
    assert (verdict.rule, verdict.file) == ("patient", toy / IMAGE)
    assert str(toy / "imagesTr/a.nii.gz") in verdict.what


def test_listed_files_that_do_not_exist_are_named(toy: Path) -> None:
    rows = "a,,imagesTr/a.nii.gz,labelsTr/x.nii.gz,\nb,,imagesTr/y.nii.gz,labelsTr/b.nii.gz,\n"
    first, second = check(table(toy, rows))
    assert (first.rule, first.file) == ("missing label", toy / "labelsTr/x.nii.gz")
    assert (second.rule, second.file) == ("missing image", toy / "imagesTr/y.nii.gz")


def test_an_absent_channel_is_named(toy: Path) -> None:
    for old in list((toy / "imagesTr").iterdir()):
        shutil.copy(old, old.with_name(old.name.replace(".nii", "_0001.nii")))
        old.rename(old.with_name(old.name.replace(".nii", "_0000.nii")))
    (toy / "imagesTr/b_0001.nii.gz").unlink()
    spec = declare(toy, layout={"kind": "nnunet"}, channels=["t1", "t2"])
    verdict = only(check(spec))
    assert (verdict.rule, verdict.case) == ("channels", "b")
    assert "channel t2 of case b is not" in verdict.what


def test_channels_must_share_a_grid(toy: Path) -> None:
    for name in "abc":
        folder = toy / "imagesTr"
        (folder / f"{name}.nii.gz").rename(folder / f"{name}_0000.nii.gz")
        write_volume(image(9), GRID, folder / f"{name}_0001.nii.gz")
    write_volume(image(9), turned(90), toy / "imagesTr/b_0001.nii.gz")
    spec = declare(toy, layout={"kind": "nnunet"}, channels=["t1", "t2"])
    assert only(check(spec)).file == toy / "imagesTr/b_0001.nii.gz"


def session(root: Path, name: str, **grids: Geometry) -> None:
    """Scans of a BIDS session by suffix, each with its grid."""
    for number, (suffix, grid) in enumerate(grids.items()):
        path = root / name / "anat" / f"{name}_{suffix}.nii.gz"
        write_volume(image(10 * int(name[-1]) + number, grid.shape), grid, path)


def sessions(root: Path, **keys: Any) -> list[Verdict]:
    plain = {"layout": {"kind": "bids"}, "channels": ["T1w", "T2w"], "labels": []}
    return check(declare(root, **{**plain, **keys}))


def test_sessions_may_lack_sequences(tmp_path: Path) -> None:
    session(tmp_path, "sub-1", T1w=GRID, T2w=GRID)
    session(tmp_path, "sub-2", T2w=GRID)
    session(tmp_path, "sub-3", PDw=GRID)
    assert sessions(tmp_path) == []


def test_cases_of_other_layouts_may_be_declared_as_sessions(toy: Path) -> None:
    (toy / "imagesT2").mkdir()
    (toy / "imagesTr/b.nii.gz").rename(toy / "imagesT2/b.nii.gz")
    layout = {
        "kind": "glob",
        "images": {"t1": "imagesTr/{case}.nii.gz", "t2": "imagesT2/{case}.nii.gz"},
        "label": "labelsTr/{case}.nii.gz",
    }
    spec = declare(toy, layout=layout, channels=["t1", "t2"])
    assert {(verdict.case, verdict.rule) for verdict in check(spec)} == {
        (name, "channels") for name in "abc"
    }
    assert "`sessions: true` under `layout`" in check(spec)[0].do
    assert check(declare(toy, layout={**layout, "sessions": True}, channels=["t1", "t2"])) == []


def test_scans_of_a_session_on_two_grids_are_pointed_out(tmp_path: Path) -> None:
    session(tmp_path, "sub-1", T1w=GRID, T2w=turned(5))
    (verdict,) = sessions(tmp_path)
    assert (verdict.level, verdict.rule) == ("warning", "geometry")
    assert verdict.file.name == "sub-1_T2w.nii.gz"
    assert "T2w.nii.gz does not lie on the grid of" in verdict.what
    assert "pre-training makes no pair of them" in verdict.do


def test_a_volume_of_something_else_in_a_session_is_pointed_out(tmp_path: Path) -> None:
    """A field of view far from that of the others; pre-training still uses it."""
    for number in range(3):
        session(tmp_path, f"sub-{number}", T1w=GRID)
    wide = Geometry(SHAPE, np.diag([10.0, 10.0, 10.0, 1.0]))
    session(tmp_path, "sub-4", T1w=GRID, T2w=wide)
    grid, unusual = sessions(tmp_path)
    assert {grid.rule, unusual.rule} == {"geometry"}
    assert {grid.level, unusual.level} == {"warning"}
    assert unusual.file.name == "sub-4_T2w.nii.gz"
    assert "60 x 70 x 80 mm, against usually 6 x 7 x 16 mm" in unusual.what


def test_a_contrast_under_two_names_is_pointed_out(tmp_path: Path) -> None:
    session(tmp_path, "sub-1", T1w=GRID)
    session(tmp_path, "sub-2", t1=GRID)
    (verdict,) = sessions(tmp_path, channels=["t1"])
    assert (verdict.level, verdict.rule, verdict.file) == ("warning", "contrast", tmp_path)
    assert "t1 and T1w of toy look like one contrast" in verdict.what
    assert "`aliases: {t1: [T1w]}`" in verdict.do
    assert sessions(tmp_path, channels=["t1"], aliases={"t1": ["T1w"]}) == []


def test_files_that_no_case_uses_are_pointed_out(toy: Path) -> None:
    (toy / "imagesTr/notes.txt").touch()
    shutil.copy(toy / IMAGE, toy / "imagesTr/d.nii.gz")
    for name in "bc":
        (toy / f"labelsTr/{name}.nii.gz").unlink()
    entry = '{"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}'
    (toy / "dataset.json").write_text(f'{{"training": [{entry}]}}')
    verdicts = check(declare(toy, layout={"kind": "decathlon"}))
    assert [v.file.name for v in verdicts] == ["b.nii.gz", "c.nii.gz", "d.nii.gz", "notes.txt"]
    assert {verdict.level for verdict in verdicts} == {"warning"}


def test_a_grid_unlike_the_rest_is_pointed_out(toy: Path) -> None:
    wide = Geometry(SHAPE, np.diag([10.0, 10.0, 10.0, 1.0]))
    write_volume(image(1), wide, toy / IMAGE)
    write_mask(mask(1, 2), wide, toy / LABEL)
    (verdict,) = check(declare(toy))
    assert (verdict.level, verdict.rule, verdict.file) == ("warning", "geometry", toy / IMAGE)


def test_a_bare_folder_is_checked_by_its_names(toy: Path) -> None:
    assert check_folder(toy) == []
    (toy / IMAGE).unlink()
    assert only(check_folder(toy)).rule == "missing image"


def test_images_unlike_the_others_of_a_bare_folder_are_pointed_out(toy: Path) -> None:
    folder = toy / "bare"
    for number, name in enumerate(("a/t1", "b/t1", "c")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_volume(image(number), GRID, folder / f"{name}.nii.gz")
    (verdict,) = check_folder(folder)
    assert (verdict.level, verdict.rule) == ("warning", "unused")
    assert verdict.file == folder / "c.nii.gz"
    verdict.file.unlink()
    assert check_folder(folder) == []


def test_a_series_among_files_of_a_bare_folder_is_pointed_out(toy: Path) -> None:
    folder = toy / "bare"
    series(folder / "c")
    for name in ("a", "b"):
        shutil.copy(toy / IMAGE, folder / f"{name}.nii.gz")
    (verdict,) = [one for one in check_folder(folder) if one.rule == "unused"]
    assert verdict.file == folder / "c"


def test_a_bare_folder_with_a_series_and_an_image_beside_it_is_told_not_guessed(toy: Path) -> None:
    for folder in (toy / "alone", toy / "tree" / "a"):
        series(folder)
        shutil.copy(toy / IMAGE, folder / "a.nii.gz")
    for folder in (toy / "alone", toy / "tree"):
        with pytest.raises(DataError, match=r"both a DICOM series .* and the image a\.nii\.gz"):
            check_folder(folder)


def test_pictures_beside_a_series_of_a_bare_folder_are_passed_over(toy: Path) -> None:
    for name in ("a", "b"):
        series(toy / "tree" / name)
        (toy / "tree" / name / "preview.png").write_bytes(b"picture")
    spec = guess_spec(toy / "tree")
    assert [list(case.images.values()) for case in find_cases(spec)] == [
        [toy / "tree" / "a"],
        [toy / "tree" / "b"],
    ]


def test_nothing_to_check_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "imagesTr").mkdir()
    with pytest.raises(DataError, match="there is no case"):
        check_folder(tmp_path)


def test_the_dirty_folder(shared_data: Path) -> None:
    root = shared_data / "dirty_hippocampus"
    verdicts = check_folder(root)
    assert [(v.file.relative_to(root).as_posix(), v.rule) for v in verdicts] == [
        ("labelsTr/hippocampus_010.nii.gz", "missing image"),
        ("labelsTr/hippocampus_281.nii.gz", "missing image"),
        ("labelsTr/hippocampus_281.nii.gz", "geometry"),
    ]
    assert all(verdict.do for verdict in verdicts)


def test_a_real_data_set_is_sound(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDSSL_DATA", str(shared_data))
    assert check(load_spec("hippocampus")) == []


@pytest.mark.parametrize(("name", "cases"), [("ms_lesions", 9), ("lgg_lesions", 24)])
def test_real_sessions_of_scans_are_sound(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch, name: str, cases: int
) -> None:
    monkeypatch.setenv("MEDSSL_DATA", str(shared_data))
    seen: list[tuple[int, int]] = []
    assert check(load_spec(name), on_progress=lambda *done: seen.append(done)) == []
    assert seen[-1] == (cases, cases)


def test_a_real_label_of_another_geometry(shared_data: Path, tmp_path: Path) -> None:
    for kind, name in (("images", "118"), ("labels", "281")):
        (tmp_path / f"{kind}Tr").mkdir()
        source = shared_data / f"dirty_hippocampus/{kind}Tr/hippocampus_{name}.nii.gz"
        shutil.copy(source, tmp_path / f"{kind}Tr" / "x.nii.gz")
    verdict = only(check_folder(tmp_path))
    assert verdict.rule == "geometry"
    assert "shape 512x512x94 against 37x52x33" in verdict.what


def test_masks_whose_values_nobody_declares_are_an_error(toy: Path) -> None:
    verdict = only(check(declare(toy, labels=[])))
    assert (verdict.rule, verdict.file) == ("undeclared", toy / "labelsTr/a.nii.gz")
    assert "has 3 masks, with the values 1, 2, and declares no labels" in verdict.what
    assert "under `labels`" in verdict.do


def test_without_a_spec_a_value_of_one_mask_alone_is_pointed_out(toy: Path) -> None:
    write_mask(mask(1, 2, 7), GRID, toy / LABEL)
    (verdict,) = check_folder(toy)
    assert (verdict.level, verdict.rule, verdict.file) == ("warning", "label values", toy / LABEL)
    assert "the only one of 3 masks that holds 7" in verdict.what


def test_masks_may_be_meant_empty_but_not_all_of_them(toy: Path) -> None:
    for name in "abc":
        write_mask(mask(), GRID, toy / f"labelsTr/{name}.nii.gz")
    verdict = only(check(declare(toy, empty_masks=True)))
    assert "none of the 3 masks of toy marks a voxel" in verdict.what


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            TypeError("Cannot cast\narray"),
            r"unexpected TypeError: 'Cannot cast\narray'; please",
        ),
        (MemoryError(), "does not fit into the memory of this machine"),
        (UsageError("odd", "why", "do"), "odd: why; do"),
    ],
)
@pytest.mark.parametrize("reader", ["read_volume", "read_mask"])
def test_whatever_a_file_meets_the_others_get_their_verdicts(
    toy: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str, reader: str
) -> None:
    whole = getattr(case_checks, reader)
    file = toy / (IMAGE if reader == "read_volume" else LABEL)

    def read(path: Path, *more: Any) -> Any:
        if path == file:
            raise error
        return whole(path, *more)

    monkeypatch.setattr(case_checks, reader, read)
    (toy / "imagesTr/c.nii.gz").unlink()
    second, third = check(declare(toy))
    assert (second.rule, second.file, second.level) == ("unreadable", file, "error")
    assert words in f"{second.what}; {second.do}"
    assert (third.rule, third.case) == ("missing image", "c")


def test_whatever_a_radiograph_meets_the_others_get_their_verdicts(tmp_path: Path) -> None:
    """A number of frames that is no number, as in pydicom's own badVR.dcm."""
    pixels = np.arange(64, dtype=np.uint16).reshape(8, 8)
    path = write_dicom(tmp_path / "odd.dcm", pixels, NumberOfFrames="11")
    sound = b"(\0\x08\0IS\x02\x0011"
    assert path.read_bytes().count(sound) == 1
    path.write_bytes(path.read_bytes().replace(sound, sound[:-1] + b"A"))
    found = check(radiographs(tmp_path, "file,grade,patient\nodd.dcm,none,1\nx.png,mild,2\n"))
    assert [(verdict.file.name, verdict.rule) for verdict in found] == [
        ("odd.dcm", "unreadable"),
        ("x.png", "missing image"),
    ]


def test_a_row_without_files_is_named(toy: Path) -> None:
    verdicts = check(table(toy, "a,,,,\nb,,imagesTr/b.nii.gz,labelsTr/b.nii.gz,\n"))
    assert {(verdict.case, verdict.rule) for verdict in verdicts} == {("a", "missing image")}


def test_names_that_cannot_be_files_are_verdicts_among_the_others(toy: Path) -> None:
    rows = "../a,,imagesTr/a.nii.gz,labelsTr/a.nii.gz,\nb,,imagesTr/b.nii.gz,labelsTr/x.nii.gz,\n"
    first, second = check(table(toy, rows))
    assert (first.rule, first.level) == ("name", "error")
    assert "'../a' in" in first.what
    assert (second.rule, second.case) == ("missing label", "b")


def test_equal_names_are_verdicts_among_the_others(toy: Path) -> None:
    rows = "a,p,imagesTr/a.nii.gz,labelsTr/a.nii.gz,\na,p,imagesTr/b.nii.gz,labelsTr/b.nii.gz,\n"
    assert only(check(table(toy, rows))).rule == "duplicate"


def test_names_that_differ_in_capitals_alone_are_pointed_out(toy: Path) -> None:
    rows = "x,p,imagesTr/a.nii.gz,labelsTr/a.nii.gz,\nX,q,imagesTr/b.nii.gz,labelsTr/b.nii.gz,\n"
    (verdict,) = check(table(toy, rows))
    assert (verdict.level, verdict.rule, verdict.case) == ("warning", "duplicate", "X")
    assert "x and X differ in capitals" in verdict.what


def test_regions_of_an_nnunet_folder_are_no_fault(tmp_path: Path) -> None:
    for number in range(3):
        write_volume(image(number), GRID, tmp_path / f"imagesTr/c_{number}_0000.nii.gz")
        write_mask(mask(1, 2, 3), GRID, tmp_path / f"labelsTr/c_{number}.nii.gz")
    (tmp_path / "dataset.json").write_text(
        '{"channel_names": {"0": "T1"}, '
        '"labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enh": 3}}'
    )
    assert check_folder(tmp_path) == []


def test_simulated_bags_have_nothing_to_be_checked() -> None:
    assert check(load_spec("planted_keys_small")) == []
