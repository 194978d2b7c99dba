"""Which names can be files on every disk."""

import pytest

from medssl.names import LONGEST, alike, is_no_path, printable, shown, unfit


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "empty"),
        (".", "starts with a dot"),
        ("..", "starts with a dot"),
        ("._scan", "starts with a dot"),
        ("../up", "starts with a dot"),
        ("a/b", "one of the characters"),
        ("a\\b", "one of the characters"),
        ("<script>alert(1)</script>", "one of the characters"),
        ("a:b", "one of the characters"),
        ("a\0b", "control character"),
        ("a\nb", "control character"),
        ("a\x1b[2J", "control character"),
        ("a\ud800", "control character"),
        ("a ", "a space"),
        ("a.", "ends with a dot"),
        ("con", "device"),
        ("COM1.x", "device"),
        ("x" * (LONGEST + 1), "longer than 160 bytes"),
        ("é" * 81, "longer than 160 bytes"),
    ],
)
def test_a_name_that_some_disk_does_not_take_is_unfit(name: str, reason: str) -> None:
    assert reason in unfit(name)


@pytest.mark.parametrize(
    "name", ["a", "sub-01_ses-2", "1.2.840.113619", "Müller 7", "a..b", "x" * LONGEST, "console"]
)
def test_ordinary_names_are_fit(name: str) -> None:
    assert unfit(name) == ""


def test_what_stands_in_a_message_is_short_and_on_one_line() -> None:
    assert shown("a\nb") == r"'a\nb'"
    assert len(shown("x" * 5000)) <= 60
    assert shown(10**5000) == "a huge number"
    assert printable("rm\x1b[2J\ud800 ä") == r"rm\x1b[2J\ud800 ä"


def test_names_that_are_one_file_on_many_disks_are_paired() -> None:
    assert alike(["a", "B", "b", "A", "b", "u\u0308", "\u00fc"]) == [
        ("B", "b"),
        ("a", "A"),
        ("u\u0308", "\u00fc"),
    ]


@pytest.mark.parametrize("text", ["a\0b", "x" * 256, "/".join(["x" * 200] * 30), "a\ud800"])
def test_paths_that_no_file_can_have(text: str) -> None:
    assert is_no_path(text)
    assert not is_no_path("/data/Müller/scan 1.nii.gz")
