"""A model is found by its package, or by a folder at any level of its run."""

import json
import zipfile
from pathlib import Path

import pytest

from medssl.errors import DataError, UsageError
from medssl.train.description import DESCRIPTION, WEIGHTS
from medssl.train.model_folder import model_folder


def write(folder: Path, checkpoint: str = "last") -> Path:
    folder.mkdir(parents=True)
    (folder / DESCRIPTION).write_text(json.dumps({"predict": {"checkpoint": checkpoint}}))
    (folder / WEIGHTS).write_bytes(b"weights")
    return folder


@pytest.mark.parametrize("level", ["", "train-1", "train-1/checkpoint", "train-1/checkpoint/last"])
def test_any_level_of_a_run_leads_to_its_checkpoint(tmp_path: Path, level: str) -> None:
    last = write(tmp_path / "train-1" / "checkpoint" / "last")
    assert model_folder(tmp_path / level) == last


@pytest.mark.parametrize("chosen", ["last", "best"])
def test_of_two_checkpoints_the_one_is_taken_that_the_run_predicts_with(
    tmp_path: Path, chosen: str
) -> None:
    for name in ("last", "best"):
        write(tmp_path / "checkpoint" / name, chosen)
    assert model_folder(tmp_path).name == chosen
    assert model_folder(tmp_path / "checkpoint" / "best").name == "best"


def test_a_checkpoint_without_such_folders_is_its_own(tmp_path: Path) -> None:
    own = write(tmp_path / "train-1" / "checkpoint")
    assert model_folder(tmp_path / "train-1") == own


def test_of_several_models_none_is_guessed(tmp_path: Path) -> None:
    for name in ("train-1", "train-2"):
        write(tmp_path / name / "checkpoint" / "last")
    with pytest.raises(UsageError, match="holds 2 trained models; train-1, train-2; name the one"):
        model_folder(tmp_path)


def test_a_package_is_unpacked_once_and_nothing_else_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    package = tmp_path / "model.zip"
    with zipfile.ZipFile(package, "w") as archive:
        for name in (DESCRIPTION, WEIGHTS, "README.md"):
            archive.writestr(f"model/{name}", "x")
        archive.writestr("../../evil", "x")
    folder = model_folder(package)
    assert sorted(path.name for path in folder.iterdir()) == sorted([DESCRIPTION, WEIGHTS])
    assert model_folder(package) == folder
    assert not list(tmp_path.rglob("evil"))


def test_other_archives_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("scan.nii", "x")
    with pytest.raises(UsageError, match="is no package of medssl"):
        model_folder(tmp_path / "other.zip")
    (tmp_path / "cut.zip").write_bytes((tmp_path / "other.zip").read_bytes()[:30])
    with pytest.raises(DataError, match="is damaged"):
        model_folder(tmp_path / "cut.zip")
