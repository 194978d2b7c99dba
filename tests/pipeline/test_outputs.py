"""A folder of results tells its own files from all others, whatever ends a prediction."""

import json
from pathlib import Path

import pytest

from medssl.errors import UsageError
from medssl.pipeline.outputs import RECORD, Outputs, refuse_inputs

NAMES = {"a": ["a.nii.gz", "a_entropy.nii.gz"], "b": ["b.nii.gz"]}


def outputs(folder: Path, overwrite: bool = False, whole: bool = False, **made: str) -> Outputs:
    sources = {case: f"file {case}" for case in NAMES}
    found = Outputs(folder, {"weights": "w", **made}, sources, NAMES, overwrite, whole)
    found.begin()
    return found


def write(found: Outputs, *names: str) -> None:
    with found.writing(names) as paths:
        for path in paths:
            path.write_text("voxels")
    found.end()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds the results of case a."""
    write(outputs(tmp_path / "out"), *NAMES["a"])
    return tmp_path / "out"


def test_what_was_written_is_known_and_nothing_else_lies_there(folder: Path) -> None:
    found = outputs(folder)
    assert found.has(NAMES["a"])
    assert not found.has(NAMES["b"])
    assert {path.name for path in folder.iterdir()} == {*NAMES["a"], RECORD}


@pytest.mark.parametrize("name", NAMES["a"])
def test_a_result_that_is_gone_is_made_again(folder: Path, name: str) -> None:
    (folder / name).unlink()
    found = outputs(folder)
    assert not found.has(NAMES["a"])
    write(found, *NAMES["a"])
    assert outputs(folder).has(NAMES["a"])


@pytest.mark.parametrize(
    ("name", "why"),
    [("a.nii.gz", "changed after medssl wrote it"), ("b.nii.gz", "medssl did not write it")],
)
def test_another_file_is_refused_or_replaced_and_never_counted(
    folder: Path, name: str, why: str
) -> None:
    (folder / name).write_text("the truth")
    with pytest.raises(UsageError, match=rf"{name} is in the way; .*{why}.*--overwrite"):
        outputs(folder)
    assert (folder / name).read_text() == "the truth"
    found = outputs(folder, overwrite=True)
    assert not found.has([name])
    write(found, name)
    assert (folder / name).read_text() == "voxels"
    assert outputs(folder).has([name])


def test_an_entry_that_points_nowhere_is_in_the_way_too(folder: Path) -> None:
    (folder / "b.nii.gz").symlink_to(folder / "nowhere")
    with pytest.raises(UsageError, match=r"b\.nii\.gz is in the way"):
        outputs(folder)


def test_other_results_are_refused_or_forgotten(folder: Path) -> None:
    with pytest.raises(UsageError, match="other predictions; made with other weights"):
        outputs(folder, weights="other")
    outputs(folder, overwrite=True, weights="other")
    assert json.loads((folder / RECORD).read_text())["written"] == {}
    with pytest.raises(UsageError, match=r"a\.nii\.gz is in the way"):
        outputs(folder, weights="other")


def test_what_else_they_were_made_with_is_named_and_is_no_damage(folder: Path) -> None:
    with pytest.raises(UsageError, match="other predictions; made with other mirrored"):
        outputs(folder, mirrored="0")


def test_results_of_all_cases_together_are_of_those_alone(folder: Path) -> None:
    assert outputs(folder, whole=True).has(NAMES["a"])
    plain = json.loads((folder / RECORD).read_text())
    plain["sources"]["c"] = "file c"
    (folder / RECORD).write_text(json.dumps(plain))
    outputs(folder)
    with pytest.raises(UsageError, match="made of other files"):
        outputs(folder, whole=True)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weights": "w", "sources": []}', "\udcff"])
def test_a_damaged_record_is_named_or_replaced(folder: Path, text: str) -> None:
    (folder / RECORD).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UsageError, match=r"prediction\.json is damaged or of another program"):
        outputs(folder)
    assert not outputs(folder, overwrite=True).has(NAMES["a"])


def test_nothing_is_written_before_it_begins(tmp_path: Path) -> None:
    found = Outputs(tmp_path / "out", {}, {}, NAMES, overwrite=False)
    assert not (tmp_path / "out").exists()
    write(found, "b.nii.gz")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"b.nii.gz", RECORD}


def test_a_failure_leaves_no_result(tmp_path: Path) -> None:
    found = outputs(tmp_path / "out")
    with pytest.raises(KeyError), found.writing(NAMES["a"]) as (mask, _):
        raise KeyError(mask.write_text("voxels"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == [RECORD]
    assert not found.has(NAMES["a"])


def test_a_kill_between_record_and_result_is_no_result(tmp_path: Path) -> None:
    """The hash is on disk first; a mask whose hash is not known could not be told from others."""
    found = outputs(tmp_path / "out")
    with found.writing(["b.nii.gz"]) as (mask,):
        mask.write_text("voxels")
        assert not (tmp_path / "out" / "b.nii.gz").exists()
    (tmp_path / "out" / "b.nii.gz").unlink()
    assert not outputs(tmp_path / "out").has(NAMES["b"])


def test_two_that_write_into_one_folder_forget_nothing(tmp_path: Path) -> None:
    one, other = outputs(tmp_path / "out"), outputs(tmp_path / "out")
    write(one, *NAMES["a"])
    write(other, *NAMES["b"])
    assert outputs(tmp_path / "out").has([*NAMES["a"], *NAMES["b"]])


def test_two_cases_never_write_one_file(tmp_path: Path) -> None:
    names = {"a": ["a.nii.gz", "a_entropy.nii.gz"], "a_entropy": ["a_entropy.nii.gz"]}
    with pytest.raises(UsageError, match=r"'a' and 'a_entropy' would both write a_entropy"):
        Outputs(tmp_path / "out", {}, {}, names, overwrite=False)


@pytest.mark.parametrize(
    ("out", "file"),
    [
        ("scans", "scans/a.nii.gz"),
        ("series", "series"),
        ("series/masks", "series"),
        ("cases", "cases/patient"),
        ("link", "scans/a.nii.gz"),
        ("scans", "links/a.nii.gz"),
        ("links", "links/a.nii.gz"),
    ],
)
def test_results_do_not_go_among_the_inputs(tmp_path: Path, out: str, file: str) -> None:
    for folder in ("scans", "series", "cases/patient", "links"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "scans/a.nii.gz").touch()
    (tmp_path / "links/a.nii.gz").symlink_to(tmp_path / "scans/a.nii.gz")
    (tmp_path / "link").symlink_to(tmp_path / "scans")
    with pytest.raises(UsageError, match="holds the input"):
        refuse_inputs(tmp_path / out, [tmp_path / file])
    refuse_inputs(tmp_path / "masks", [tmp_path / file])
