"""A packaged model predicts as before, says what it is, and is the same file each time."""

import hashlib
import json
import zipfile

import numpy as np
import pytest
import torch

from medssl.errors import DataError, UsageError
from medssl.export.package import export_package
from medssl.infer.checkpoint_guard import read_guard, save_guard
from medssl.infer.guard import Guard
from medssl.infer.scan_traits import PARTS
from medssl.train.checkpoint import load_checkpoint
from medssl.train.model_folder import model_folder

NAMES = {"README.md", "SHA256SUMS", "checkpoint.json", "weights.safetensors"}


def _answer(folder):
    predictor, _ = load_checkpoint(folder)
    image = torch.linspace(-1, 1, 2 * 8**3).reshape(1, 2, 8, 8, 8)
    with torch.no_grad():
        return predictor(image)


def test_a_folder_is_a_checkpoint_that_answers_alike(checkpoint, tmp_path):
    export_package(checkpoint, tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == NAMES
    assert torch.equal(_answer(tmp_path / "model"), _answer(checkpoint))


def test_a_zip_holds_that_folder(checkpoint, tmp_path):
    export_package(checkpoint, tmp_path / "model.zip")
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        assert set(archive.namelist()) == {f"model/{name}" for name in NAMES}
        archive.extractall(tmp_path)
    assert torch.equal(_answer(tmp_path / "model"), _answer(checkpoint))


@pytest.mark.parametrize("name", ["model", "model.zip"])
def test_a_guard_goes_along_and_is_unpacked_again(checkpoint, tmp_path, monkeypatch, name):
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    looks = [{part: np.full(8, number / 7) for part in PARTS} for number in range(9)]
    save_guard(checkpoint, Guard.of("m", looks))
    export_package(checkpoint, tmp_path / name)
    again = read_guard(model_folder(tmp_path / name))
    assert again.limit(0.1) == read_guard(checkpoint).limit(0.1)


@pytest.mark.parametrize("name", ["model", "model.zip"])
def test_the_package_carries_checksums_even_of_a_checkpoint_that_has_none(
    checkpoint, tmp_path, name
):
    sums = (checkpoint / "SHA256SUMS").read_text()
    (checkpoint / "SHA256SUMS").unlink()
    export_package(checkpoint, tmp_path / name)
    if name.endswith(".zip"):
        zipfile.ZipFile(tmp_path / name).extractall(tmp_path)
    assert (tmp_path / "model" / "SHA256SUMS").read_text() == sums


def test_equal_models_are_equal_files(checkpoint, tmp_path):
    for folder in ("one", "other"):
        export_package(checkpoint, tmp_path / folder / "model.zip")
    one, other = ((tmp_path / name / "model.zip").read_bytes() for name in ("one", "other"))
    assert one == other


def test_the_card_says_what_a_user_must_know(checkpoint, tmp_path):
    export_package(checkpoint, tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    weights = hashlib.sha256((checkpoint / "weights.safetensors").read_bytes()).hexdigest()
    for fact in (
        "Toy brains",
        "not a medical device",
        "Trained on simulated data",
        "channels, in this order: t1, flair",
        'FieldSpacingd {"pixdim": [1.0, 1.0, 3.0]}',
        "| 1 | hippocampus | Hippocampus (SCT 5366008) |",
        "| 5 | something new | |",
        "2 networks, averaged",
        "tracoco, 500 steps (Liu et al., TraCoCo)",
        "CC BY 4.0",
        "Doe 2020",
        "Dice 0.8124",
        weights,
    ):
        assert fact in card


def test_the_card_names_what_the_encoder_was_pretrained_on(checkpoint, tmp_path):
    (checkpoint / "SHA256SUMS").unlink()
    path = checkpoint / "checkpoint.json"
    plain = json.loads(path.read_text())
    learned = {"name": "scans", "title": "", "licence": "CC0", "citation": "Roe 2021"}
    encoder = {"weights": "0", "method": {"name": "mim"}, "paper": "Poe", "step": 9}
    plain["encoder"] = {**encoder, "data": [{**learned, "simulated": False}]}
    path.write_text(json.dumps(plain))
    export_package(checkpoint, tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    assert (
        "- encoder: pre-trained with mim (Poe) on scans; licence: CC0; citation: Roe 2021" in card
    )


def test_nothing_is_overwritten(checkpoint, tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        export_package(checkpoint, tmp_path / "model")


def test_a_damaged_checkpoint_is_not_handed_on(checkpoint, tmp_path):
    weights = checkpoint / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(DataError, match=r"weights\.safetensors is damaged"):
        export_package(checkpoint, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["last"]
