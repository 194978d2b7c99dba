"""The data's fingerprint follows content and nothing else."""

import os
import re
import shutil
import subprocess

import pytest

from medssl.data.spec import Case
from medssl.train.fingerprint import _git, code_version, fingerprint


def _cases(root):
    """Two cases with an image of 200 kB each; the second has no label."""
    root.mkdir()
    for number in (1, 2):
        (root / f"{number}.nii").write_bytes(bytes([number]) * 200_000)
    (root / "label.nii").write_bytes(b"label")
    return [
        Case("a", "a", {"t1": root / "1.nii"}, root / "label.nii"),
        Case("b", "b", {"t1": root / "2.nii"}),
    ]


def test_order_place_and_time_do_not_matter(tmp_path):
    cases = _cases(tmp_path / "here")
    before = fingerprint(cases)
    assert re.fullmatch("[0-9a-f]{16}", before)
    assert fingerprint(cases[::-1]) == before
    os.utime(tmp_path / "here" / "1.nii", (0, 0))
    assert fingerprint(cases) == before
    assert fingerprint(_cases(tmp_path / "there")) == before


def _first_byte(folder):
    with (folder / "1.nii").open("r+b") as stream:
        stream.write(b"\xff")


def _last_byte(folder):
    with (folder / "1.nii").open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"\xff")


def _length(folder):
    (folder / "1.nii").write_bytes(bytes([1]) * 200_001)


def _no_label(folder):
    (folder / "label.nii").unlink()


def _exchange(folder):
    (folder / "1.nii").rename(folder / "3.nii")
    (folder / "2.nii").rename(folder / "1.nii")
    (folder / "3.nii").rename(folder / "2.nii")


@pytest.mark.parametrize("change", [_first_byte, _last_byte, _length, _no_label, _exchange])
def test_content_matters(tmp_path, change):
    cases = _cases(tmp_path / "here")
    before = fingerprint(cases)
    change(tmp_path / "here")
    assert fingerprint(cases) != before


def test_which_cases_matters(tmp_path):
    cases = _cases(tmp_path / "here")
    assert fingerprint(cases) != fingerprint(cases[:1])


def test_every_file_of_a_dicom_series_matters(shared_data, tmp_path):
    series = tmp_path / "series"
    shutil.copytree(shared_data / "dicom_brain" / "study3" / "11_HCropVolume", series)
    cases = [Case("a", "a", {"t1": series})]
    before = fingerprint(cases)
    (series / "7.dcm").unlink()
    assert fingerprint(cases) != before


def test_git_is_only_looked_at(monkeypatch, tmp_path):
    """`git status` freshens the index, and leaves a lock there if it is ended while it does."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "file").touch()
    subprocess.run(["git", "add", "file"], cwd=tmp_path, check=True)
    os.utime(tmp_path / "file", (1, 1))
    before = (tmp_path / ".git" / "index").read_bytes()
    assert _git(tmp_path, "status", "--porcelain") == "A  file"
    assert (tmp_path / ".git" / "index").read_bytes() == before


def test_code_version_starts_with_the_package_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+( [0-9a-f]{10}(\+changed)?)?", code_version())
