"""A full disk: one sentence, nothing half-written, and the same command with space works.

Needs a small disk of its own, which only root can mount.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from medssl.data.volume import read_mask
from tests.conftest import Medssl

PAGE = 4096


@pytest.fixture
def disk(balls: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    folder = balls / "disk"
    folder.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, pages: int) -> Path:
    """A file that leaves so many pages of the disk."""
    filler = disk / "filler"
    left = shutil.disk_usage(disk).free
    with filler.open("wb") as file:
        file.write(bytes(left - pages * PAGE))
    assert shutil.disk_usage(disk).free == pages * PAGE
    return filler


def assert_told(errors: str, disk: Path) -> None:
    """One sentence names a file on the disk, the reason and the remedy."""
    (line,) = errors.splitlines()
    assert line.startswith(f"medssl: {disk}")
    assert line.endswith("cannot be written; the disk is full; free some space and run again")


def unfinished(disk: Path) -> list[Path]:
    return [path for path in disk.rglob("*") if path.name.startswith(".")]


@pytest.mark.parametrize("pages", [0, 1, 3, 6])
def test_a_prediction(
    balls: Path,
    disk: Path,
    untrained_checkpoint: Path,
    medssl: Medssl,
    pages: int,
) -> None:
    images = sorted((balls / "data" / "balls").glob("c?.nii.gz"))[:2]
    command = ["predict", "-q", "--device", "cpu", untrained_checkpoint, *images, "--out"]
    assert medssl(*command, balls / "enough")[0] == 0
    filler = fill(disk, pages)
    code, _, errors = medssl(*command, disk / "out")
    left = sorted((disk / "out").glob("c?.nii.gz"))
    assert code == (0 if len(left) == len(images) else 1)
    if code:
        assert_told(errors, disk)
    assert not unfinished(disk)
    for mask in left:
        whole = read_mask(balls / "enough" / mask.name).array
        np.testing.assert_array_equal(read_mask(mask).array, whole)
    filler.unlink()
    assert medssl(*command, disk / "out")[0] == 0
    for mask in (balls / "enough").glob("*.nii.gz"):
        assert (disk / "out" / mask.name).read_bytes() == mask.read_bytes()


@pytest.mark.parametrize("pages", [0, 10, 25, 42, 60])
def test_a_run(
    balls: Path,
    disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    medssl: Medssl,
    pages: int,
) -> None:
    """With this space it ends in its folder, the cache, the checkpoint, the masks, the report."""
    monkeypatch.setenv("MEDSSL_RUNS", str(disk / "runs"))
    monkeypatch.setenv("MEDSSL_CACHE", str(disk / "cache"))
    filler = fill(disk, pages)
    code, _, errors = medssl("run", "-q", "balls")
    assert code == 1
    assert_told(errors, disk)
    assert not unfinished(disk)
    filler.unlink()
    code, out, _ = medssl("run", "-q", "balls")
    assert code == 0
    found = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert Path(found["report"]).stat().st_size > 0
    assert len(list(Path(found["masks"]).glob("c?.nii.gz"))) == 3


def test_a_folder_that_may_only_be_read(
    balls: Path, disk: Path, monkeypatch: pytest.MonkeyPatch, medssl: Medssl
) -> None:
    """Said at once, before anything is computed."""
    monkeypatch.setenv("MEDSSL_RUNS", str(disk / "runs"))
    monkeypatch.setattr("medssl.families.segment.train.train", None)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    code, _, errors = medssl("run", "-q", "balls")
    (line,) = errors.splitlines()
    assert code == 1
    assert f"medssl: {disk}" in line
    assert "its folder may only be read; choose another folder" in line


def test_a_place_below_a_file(balls: Path, monkeypatch: pytest.MonkeyPatch, medssl: Medssl) -> None:
    (balls / "file").touch()
    monkeypatch.setenv("MEDSSL_RUNS", str(balls / "file" / "runs"))
    monkeypatch.setattr("medssl.families.segment.train.train", None)
    code, _, errors = medssl("run", "-q", "balls")
    assert code == 1
    assert "cannot be written; not a directory; choose another folder" in errors
