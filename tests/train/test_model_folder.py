"""A model is found by its package, or by a folder at any level of its run."""

import json
import zipfile
from pathlib import Path

import pytest

from medssl.errors import DataError, UsageError
from medssl.train.description import DESCRIPTION, WEIGHTS
from medssl.train.model_folder import model_folder
from medssl.train.tracking import TRACKING


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


def tell_used(stage: Path, *models: str) -> Path:
    """The folder of a stage that says which models it used, as MLflow is told."""
    stage.mkdir(parents=True)
    (stage / TRACKING).write_text(json.dumps({"uses": list(models)}))
    return stage


@pytest.mark.parametrize("stage", ["run", "predict", "evaluate", "unlabelled"])
def test_any_folder_of_a_run_leads_to_the_model_that_it_used(tmp_path: Path, stage: str) -> None:
    last = write(tmp_path / "train-1" / "checkpoint" / "last")
    write(tmp_path / "train-2" / "checkpoint" / "last")
    folder = tell_used(tmp_path / f"{stage}-1", "../train-1/checkpoint/last")
    assert model_folder(folder).resolve() == last


def test_a_run_of_several_models_names_them(tmp_path: Path) -> None:
    for name in ("train-1", "train-2"):
        write(tmp_path / name / "checkpoint" / "last")
    used = [f"../train-{number}/checkpoint/last" for number in (1, 2)]
    folder = tell_used(tmp_path / "run-1", *used)
    with pytest.raises(UsageError, match=r"run-1 used 2 models; .*train-1.*train-2.*; name the "):
        model_folder(folder)


def test_a_run_whose_model_is_not_trained_yet_says_so(tmp_path: Path) -> None:
    folder = tell_used(tmp_path / "run-1", "../train-1/checkpoint/last")
    with pytest.raises(UsageError, match=r"run-1 has no model yet; .*; run it to its end"):
        model_folder(folder)


def test_a_training_is_not_taken_for_the_encoder_that_it_starts_from(tmp_path: Path) -> None:
    write(tmp_path / "pretrain-1" / "checkpoint" / "last")
    folder = tell_used(tmp_path / "train-1", "../pretrain-1/checkpoint/last")
    (folder / TRACKING).write_text(
        json.dumps({"uses": ["../pretrain-1/checkpoint/last"], "model": {"name": "cps"}})
    )
    assert model_folder(folder) == folder


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
