"""What is said of a file that is no YAML, and where in it the fault lies."""

from pathlib import Path

import pytest

from medssl.errors import UsageError
from medssl.yaml_keys import parse_yaml, read_keys


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", ["line 3, column 2", "expected ',' or ']'"]),
        ("a: 1\nb: c: 3\n", ["line 2, column 5", "mapping values are not allowed here"]),
        ("a:\n\tb: 1\n", ["line 2, column 1", "indent with spaces"]),
        ("a: 1\nb: 2\na: 3\n", ["line 3, column 1", "the key 'a' stands here for the second time"]),
        ("a: {b: 1, b: 2}\n", ["line 1, column 11", "the key 'b'"]),
        ("a: 1\nbc: x\x07\n", ["line 2, column 6", "control character 0x07", "remove it"]),
        ("a: 2024-13-45\n", ["month must be in 1..12", "put it in quotes"]),
        ("a: " + "[" * 5000, ["nested too deeply"]),
        ("a: !!python/object:os.system x\n", ["line 1, column 4", "could not determine"]),
    ],
)
def test_a_fault_is_named_by_file_line_and_column(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_keys(path, "a pipeline")
    sentence = str(caught.value)
    assert sentence.startswith(str(path))
    assert "\n" not in sentence
    for word in words:
        assert word in sentence


def test_bytes_that_are_no_text_are_named_by_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"a: 1\nb: M\xfcller\n")
    with pytest.raises(UsageError, match=r"latin\.yaml, line 2, .*UTF-8"):
        read_keys(path, "a pipeline")


@pytest.mark.parametrize("text", ["- a\n", "", "word", "3"])
def test_a_file_without_keys_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "list.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match="holds no keys; a data spec is a mapping"):
        read_keys(path, "a data spec")


def test_anchors_and_merged_keys_may_be_given_again() -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\nc: *a\n"
    assert parse_yaml(text, "it") == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 3, "y": 2},
        "c": {"x": 1, "y": 2},
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("0", 0), ("-17", -17), ("1_000", 1000), ("0x1f", 31), ("0b11", 3)],
        *[("1.", 1.0), (".5", 0.5), ("-1.5e-3", -1.5e-3), (".inf", float("inf"))],
        *[("1:30", "1:30"), ("1:30.5", "1:30.5"), ("017", "017"), ("08", "08"), ("0o17", "0o17")],
    ],
)
def test_numbers_are_those_that_one_reads(text: str, value: object) -> None:
    found = parse_yaml(text, "it")
    assert (type(found), found) == (type(value), value)
