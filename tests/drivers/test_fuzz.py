"""The fuzz driver: that it sees what it is there to see, and a short form of it."""

import subprocess
import sys
import time
from mmap import mmap
from pathlib import Path

import numpy as np
import pytest

from medssl.errors import DataError
from tests.drivers.fuzzing.damage import damage_bytes, damage_tree
from tests.drivers.fuzzing.format import Silent
from tests.drivers.fuzzing.formats import FORMATS
from tests.drivers.fuzzing.watch import watch

FUZZ = Path(__file__).with_name("fuzz.py")


def kinds(action, place: Path) -> list[str]:
    return [outcome.kind for outcome in watch(action, place)]


def raising(error: BaseException):
    def action() -> None:
        raise error

    return action


def of_two_lines() -> DataError:
    error = DataError("one")
    error.args = ("two\nlines",)
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DataError("the file is empty", do="copy it again"), "told"),
        (SystemExit(2), "told"),
        (SystemExit(1), "RAW"),
        (of_two_lines(), "UNCLEAR"),
        (KeyError("x"), "RAW"),
        (MemoryError(), "MEMORY"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "MEMORY"),
        (Silent("another value"), "SILENT"),
    ],
)
def test_only_one_sentence_counts_as_told(error, kind, tmp_path):
    assert kinds(raising(error), tmp_path) == [kind]


def test_what_takes_too_long_is_ended(tmp_path, monkeypatch):
    def never_done() -> None:
        while True:
            pass

    monkeypatch.setattr("tests.drivers.fuzzing.watch.LIMIT_S", 0.05)
    assert kinds(never_done, tmp_path) == ["HANG"]


def test_what_sleeps_for_ever_is_ended_too(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.drivers.fuzzing.watch.LIMIT_S", 0.05)
    begun = time.monotonic()
    assert kinds(lambda: time.sleep(60), tmp_path) == ["HANG"]
    assert time.monotonic() - begun < 30


def test_memory_that_is_taken_and_given_back_is_seen(tmp_path, monkeypatch):
    def take() -> None:
        with mmap(-1, 2**27) as pages:  # new ones, which no earlier test has given back
            pages.write(b"x" * 2**27)

    monkeypatch.setattr("tests.drivers.fuzzing.watch.GROWTH", 2**26)
    assert kinds(take, tmp_path) == ["ok", "MEMORY"]


@pytest.mark.parametrize(
    "name", ["a.part", ".hidden.nii.gz", "cut.json", "cut.nii.gz", "empty.png"]
)
def test_a_file_that_a_failure_leaves_is_seen(name, tmp_path):
    def leave() -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / name).write_bytes(b"" if "empty" in name else b"{")
        raise DataError("no")

    assert kinds(leave, tmp_path) == ["told", "PARTIAL"]


def test_whole_files_of_earlier_cases_are_no_leftovers(tmp_path):
    def leave() -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "prediction.json").write_text("{}")
        raise DataError("no")

    assert kinds(leave, tmp_path) == ["told"]


def test_equal_seeds_damage_equally_and_others_otherwise(tmp_path):
    def damaged(seed: int) -> bytes:
        path = tmp_path / "x"
        path.write_bytes(bytes(range(256)))
        damage_bytes(path, np.random.default_rng(seed))
        found = path.read_bytes() if path.is_file() else b"no file"
        path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
        return found

    assert [damaged(seed) for seed in range(20)] == [damaged(seed) for seed in range(20)]
    assert len({damaged(seed) for seed in range(20)}) > 10


def test_every_damage_to_a_tree_changes_it():
    tree = {"a": [1, {"b": "c"}], "d": None}
    changed = 0
    for seed in range(100):
        copy = {"a": [1, {"b": "c"}], "d": None}
        found, _ = damage_tree(copy, np.random.default_rng(seed))
        changed += repr(found) != repr(tree)
    assert changed > 90  # a value may be replaced by its like


def test_every_format_has_a_name_of_its_own():
    assert len({one.name for one in FORMATS}) == len(FORMATS)


def test_damaged_inputs_of_every_format_are_read_or_told():
    ended = subprocess.run(
        [sys.executable, str(FUZZ), "--inputs", "70"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
