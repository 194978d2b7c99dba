"""What is written appears whole or not at all, and the dead leave nothing for ever."""

import ast
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import medssl
from medssl import atomic
from medssl.atomic import (
    appearing,
    append_text,
    discard,
    make_folder,
    sweep,
    write_text,
)
from medssl.errors import MedsslError


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    with appearing(tmp_path / "deep" / "mask.nii.gz") as beside:
        beside.write_bytes(b"voxels")
        assert beside.name.endswith(".mask.nii.gz")
        assert not (tmp_path / "deep" / "mask.nii.gz").exists()
    assert (tmp_path / "deep" / "mask.nii.gz").read_bytes() == b"voxels"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["mask.nii.gz"]


def test_a_failure_keeps_what_was_there_and_leaves_nothing_new(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "before")
    with pytest.raises(KeyError), appearing(tmp_path / "a.txt") as beside:
        raise KeyError(beside.write_text("half"))
    assert (tmp_path / "a.txt").read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_the_check_refuses_does_not_appear(tmp_path: Path) -> None:
    def refuse(path: Path) -> None:
        raise MedsslError(f"{path.stat().st_size} bytes")

    with pytest.raises(MedsslError, match="0 bytes"), appearing(tmp_path / "a", refuse) as beside:
        beside.touch()
    assert not list(tmp_path.iterdir())


def test_a_folder_replaces_a_folder(tmp_path: Path) -> None:
    for content in ("one", "two"):
        with appearing(tmp_path / "last") as beside:
            beside.mkdir()
            (beside / content).touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["last", "two"]


def test_a_full_disk_is_said() -> None:
    with pytest.raises(MedsslError, match="disk is full"), appearing(Path("/tmp/x")):
        raise OSError(28, "No space left on device")


def test_a_place_without_any_bytes_is_no_full_disk() -> None:
    with pytest.raises(MedsslError, match="cannot be written; no such file"):
        write_text(Path("/proc/nowhere/a.txt"), "x")


def test_a_parent_that_is_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MedsslError, match="cannot be written"):
        write_text(tmp_path / "file" / "a.txt", "x")


def test_other_errors_of_the_block_pass_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(KeyError), appearing(tmp_path / "a"):
        raise KeyError("a")


def test_a_killed_writer_leaves_one_hidden_name_which_is_swept(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from medssl.atomic import appearing\n"
        "with appearing(Path(sys.argv[1]) / 'a') as beside:\n"
        "    beside.mkdir(); (beside / 'voxels').touch(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".")
    sweep(tmp_path.parent)
    assert not list(tmp_path.iterdir())


def test_the_living_are_not_swept(tmp_path: Path) -> None:
    with appearing(tmp_path / "a") as beside:
        beside.touch()
        sweep(tmp_path)
        assert beside.exists()


def test_an_earlier_life_with_the_same_process_number_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container every run may be process 1."""
    with appearing(tmp_path / "a") as beside:
        beside.touch()
        monkeypatch.setattr(atomic, "_LIFE", "00000000")
        sweep(tmp_path)
        assert not beside.exists()
        beside.touch()


def test_another_machines_work_is_swept_after_a_day(tmp_path: Path) -> None:
    fresh = tmp_path / ".part-0123abcd-1-89abcdef-00000000.mask.nii.gz"
    old = tmp_path / ".part-0123abcd-2-89abcdef-00000000.mask.nii.gz"
    fresh.touch()
    old.touch()
    os.utime(old, (0, 0))
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [fresh.name]


def test_of_two_that_fill_one_folder_the_first_wins(tmp_path: Path) -> None:
    with appearing(tmp_path / "a", first_wins=True) as late:
        late.mkdir()
        (late / "late").touch()
        with appearing(tmp_path / "a", first_wins=True) as early:
            early.mkdir()
            (early / "early").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["early"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_nothing_else_puts_files_into_place() -> None:
    """A download keeps its unfinished file, to be continued; all others write by `appearing`.

    The service also moves what it has received, within a folder that only it reads.
    """
    root = Path(medssl.__file__).parent
    movers = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and _moves(node)
    }
    received = {"serve/answer.py", "serve/journal.py", "serve/sessions.py"}
    assert movers - {"data/volume.py"} - received == {"atomic.py", "data/fetch.py"}


def _moves(call: ast.Call) -> bool:
    """Whether it is `os.rename(a, b)`, `path.rename(b)`, `path.replace(b)` or the like."""
    if not isinstance(call.func, ast.Attribute) or call.keywords:
        return False
    of_os = isinstance(call.func.value, ast.Name) and call.func.value.id in ("os", "shutil")
    wanted = ("rename", "renames", "replace", "move") if of_os else ("rename", "replace")
    return call.func.attr in wanted and len(call.args) == (2 if of_os else 1)


def test_what_a_full_disk_cuts_off_is_taken_back(tmp_path: Path, monkeypatch: Any) -> None:
    append_text(tmp_path / "a", "one\n")

    class Cut(io.FileIO):
        def write(self, content: Any) -> int:
            return super().write(bytes(content)[:2])

    monkeypatch.setattr(Path, "open", lambda path, *_, **__: Cut(path, "ab"))
    with pytest.raises(MedsslError, match="a cannot be written; the disk is full"):
        append_text(tmp_path / "a", "two\n")
    monkeypatch.undo()
    assert (tmp_path / "a").read_text() == "one\n"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    make_folder(tmp_path / "deep" / "er")
    make_folder(tmp_path / "deep" / "er")
    (tmp_path / "file").touch()
    with pytest.raises(MedsslError, match=r"file/a cannot be written; not a directory; choose"):
        make_folder(tmp_path / "file" / "a")


def test_what_is_discarded_is_gone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "voxels").touch()
    discard(tmp_path / "a")
    discard(tmp_path / "a")
    assert not list(tmp_path.iterdir())
