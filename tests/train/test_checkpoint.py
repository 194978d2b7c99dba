"""Checkpoints: enough to predict from, replaced whole, refused in one sentence when damaged."""

import hashlib
import json
import pickle

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from medssl.data.labels import Label
from medssl.errors import DataError, MedsslError, UsageError
from medssl.networks.build import build_network
from medssl.networks.ensemble import Ensemble
from medssl.networks.settings import NetworkSettings
from medssl.settings import PredictSettings
from medssl.train.checkpoint import (
    Checkpoint,
    DataCard,
    load_checkpoint,
    read_description,
    save_checkpoint,
)
from medssl.train.description import CHECKSUMS, DESCRIPTION, WEIGHTS, weights_hash
from medssl.transforms.chain import Preprocess

NETWORK = NetworkSettings(name="vnet", width=2, levels=2, norm="batch", dropout=0.5)


def describe(members=2, **changes):
    return Checkpoint(
        network=NETWORK,
        members=members,
        channels=("T1", "T2"),
        labels=(Label(value=3, name="left"), Label(value=7, name="right")),
        modality="MR",
        patch=(8, 8, 8),
        preprocess=Preprocess.of({"mr": {"spacing": (1.0, 1.0, 2.5)}}),
        predict=PredictSettings(stride=(4, 4, 4)),
        method={"name": "tracoco", "noise": {"amplitude": 0.2}},
        paper="someone",
        split_hash="abc",
        data=DataCard(name="toy", title="Toy", licence="CC0", citation="none", simulated=True),
        code="1",
        step=9,
        metrics={"dice": 0.1 + 0.2},
    ).model_copy(update=changes)


def ensemble(members=2, seed=0):
    return Ensemble(build_network(NETWORK, 2, 3, seed + member) for member in range(members))


@pytest.fixture
def image():
    return torch.randn(1, 2, 8, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def saved(tmp_path):
    save_checkpoint(tmp_path / "last", ensemble(), describe())
    return tmp_path / "last"


@pytest.mark.parametrize("channels_last", [False, True])
def test_logits_and_description_come_back_exactly(tmp_path, image, channels_last):
    predictor = ensemble()
    if channels_last:
        predictor.to(memory_format=torch.channels_last_3d)
    with torch.no_grad():
        predictor.train()(image)  # running statistics belong to the weights
    save_checkpoint(tmp_path / "last", predictor, describe())
    loaded, found = load_checkpoint(tmp_path / "last")
    assert found == describe()
    assert found.classes == ("background", "left", "right")
    assert found.label_values == (0, 3, 7)
    assert not loaded.training
    assert loaded.state_dict().keys() == predictor.state_dict().keys()
    for key, value in predictor.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key


def test_a_checkpoint_replaces_the_one_before(saved, image):
    newer = ensemble(members=1, seed=10).eval()
    save_checkpoint(saved, newer, describe(members=1, step=10))
    loaded, found = load_checkpoint(saved)
    assert (found.step, found.members) == (10, 1)
    assert torch.equal(loaded(image), newer(image))
    assert [path.name for path in saved.parent.iterdir()] == ["last"]


def test_a_failed_write_keeps_the_one_before(saved, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(saved, ensemble(seed=10), describe(step=10))
    assert read_description(saved).step == 9
    assert [path.name for path in saved.parent.iterdir()] == ["last"]


def test_a_full_disk_is_told_in_a_sentence(saved, monkeypatch):
    def full(*_):
        raise SafetensorError("Error while serializing: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(MedsslError, match="last cannot be written; the disk is full"):
        save_checkpoint(saved, ensemble(seed=10), describe(step=10))
    assert read_description(saved).step == 9


@pytest.mark.parametrize("gone", [DESCRIPTION, WEIGHTS])
def test_a_folder_without_one_of_the_two_files_is_no_checkpoint(saved, gone):
    (saved / gone).unlink()
    with pytest.raises(UsageError, match="is not a checkpoint"):
        load_checkpoint(saved)


def test_a_missing_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(UsageError, match="nowhere is not a checkpoint"):
        load_checkpoint(tmp_path / "nowhere")


class Malicious:
    def __reduce__(self):
        return (pytest.fail, ("pickled code ran",))


@pytest.mark.parametrize(
    "content",
    [b"", b"noise" * 100, pickle.dumps(Malicious())],
    ids=["empty", "noise", "pickle"],
)
def test_weights_that_are_no_safetensors_are_refused(saved, content):
    (saved / CHECKSUMS).unlink()
    (saved / WEIGHTS).write_bytes(content)
    with pytest.raises(DataError, match=f"{WEIGHTS} does not hold the weights"):
        load_checkpoint(saved)


def test_weights_cut_short_are_refused(saved):
    path = saved / WEIGHTS
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError, match="damaged"):
        load_checkpoint(saved)


def test_weights_of_another_network_are_refused(saved):
    (saved / CHECKSUMS).unlink()
    description = json.loads((saved / DESCRIPTION).read_text())
    description["network"]["width"] = 4
    (saved / DESCRIPTION).write_text(json.dumps(description))
    with pytest.raises(DataError, match="from another checkpoint"):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 2}, "format: Input should be 1"),
        ({"colour": "red"}, "colour: Extra inputs"),
        ({"patch": [8, 8]}, "patch.2: Field required"),
        ({"patch": [8, 8, 2**63]}, "patch.2: Input should be less than or equal to 4096"),
        ({"patch": [8, 0, 8]}, "patch.1: Input should be greater than or equal to 1"),
    ],
)
def test_a_description_of_another_version_is_refused_by_key(saved, change, words):
    (saved / CHECKSUMS).unlink()
    description = json.loads((saved / DESCRIPTION).read_text())
    (saved / DESCRIPTION).write_text(json.dumps(description | change))
    with pytest.raises(DataError, match=words):
        read_description(saved)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00"])
def test_a_description_that_is_no_json_is_refused(saved, content):
    (saved / CHECKSUMS).unlink()
    (saved / DESCRIPTION).write_bytes(content)
    with pytest.raises(DataError, match=r"checkpoint\.json cannot be understood; it is not JSON"):
        read_description(saved)


@pytest.mark.parametrize("content", ["[]", "3", "null", '"text"'])
def test_a_description_that_is_no_object_is_refused(saved, content):
    (saved / CHECKSUMS).unlink()
    (saved / DESCRIPTION).write_text(content)
    with pytest.raises(DataError, match=r"checkpoint\.json cannot be understood.*no JSON object"):
        read_description(saved)


@pytest.mark.parametrize("name", [WEIGHTS, DESCRIPTION, CHECKSUMS])
def test_no_flipped_bit_passes(saved, name):
    whole = (saved / name).read_bytes()
    places = np.random.default_rng(0).integers(0, 8 * len(whole), 40)
    for place in places.tolist():
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        (saved / name).write_bytes(flipped)
        with pytest.raises(DataError, match=r"is damaged.*SHA256SUMS"):
            load_checkpoint(saved)


def test_the_checksums_are_those_of_sha256sum(saved):
    sums = dict(reversed(line.split("  ")) for line in (saved / CHECKSUMS).read_text().splitlines())
    assert sums == {
        name: hashlib.sha256((saved / name).read_bytes()).hexdigest()
        for name in (WEIGHTS, DESCRIPTION)
    }
    assert weights_hash(saved) == sums[WEIGHTS]


def test_a_checkpoint_of_earlier_versions_has_no_checksums_and_is_taken(saved):
    (saved / CHECKSUMS).unlink()
    description = json.loads((saved / DESCRIPTION).read_text())
    for later in ("mirrored", "empty_masks"):
        description.pop(later)
    (saved / DESCRIPTION).write_text(json.dumps(description))
    _, found = load_checkpoint(saved)
    assert (found.mirrored, found.empty_masks) == (None, None)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_neither_written_nor_read(saved, value):
    predictor = ensemble()
    with torch.no_grad():
        next(predictor.parameters()).view(-1)[0] = value
    with pytest.raises(MedsslError, match=r"last is not written.*no longer finite"):
        save_checkpoint(saved, predictor, describe())
    load_checkpoint(saved)  # what was there before stays
    (saved / CHECKSUMS).unlink()
    save_file({k: v.contiguous() for k, v in predictor.state_dict().items()}, saved / WEIGHTS)
    with pytest.raises(DataError, match=r"the weights members.* are not finite numbers"):
        load_checkpoint(saved)
