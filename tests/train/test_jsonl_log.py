"""The journal keeps what it was given, and passes over what is none of it."""

from pathlib import Path

import pytest

from medssl.train.jsonl_log import Journal, read_lines, read_log


def test_numbers_come_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "metrics.jsonl")
    journal.append(1, {"loss": 0.5})
    journal.append(2, {"loss": float("inf")})
    first, second = read_log(tmp_path / "metrics.jsonl")
    assert (first.step, first.values) == (1, {"loss": 0.5})
    assert second.step == 2
    assert str(second.values["loss"]) == "nan"


@pytest.mark.parametrize(
    "line",
    [
        b'{"step": 2, "time": 1.0, "lo',
        b"[1, 2]",
        b"null",
        b'"text"',
        b"{}",
        b'{"step": "two", "time": 1.0}',
        b'{"step": 2.5, "time": 1.0}',
        b'{"step": 2, "time": null}',
        b'{"step": 2, "time": 1.0, "loss": "high"}',
        b'{"step": 2, "time": 1.0, "loss": [1]}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
    ],
)
def test_a_line_that_is_cut_or_of_another_kind_is_passed_over(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    journal = Journal(path)
    journal.append(1, {"loss": 0.5})
    with path.open("ab") as file:
        file.write(line + b"\n")
    journal.append(3, {"loss": 0.25})
    assert [entry.step for entry in read_log(path)] == [1, 3]
    assert journal.rewind(4) == 2
    assert line not in path.read_bytes()


def test_lines_that_are_no_objects_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "epochs.jsonl"
    assert read_lines(path) == []
    path.write_text('{"a": 1}\n[2]\n{"b')
    assert read_lines(path) == [{"a": 1}]
