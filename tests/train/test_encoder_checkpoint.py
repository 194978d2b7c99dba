"""A pre-trained encoder on disk: what it says of itself, and what is refused in its place."""

import json

import pytest
import torch

from medssl.errors import DataError, UsageError
from medssl.networks.build import build_encoder
from medssl.networks.settings import NetworkSettings
from medssl.train.checkpoint import DataCard, read_description, save_checkpoint
from medssl.train.description import (
    CHECKSUMS,
    DESCRIPTION,
    WEIGHTS,
    checkpoint_family,
    weights_hash,
)
from medssl.train.encoder_checkpoint import (
    VolumeEncoderCheckpoint,
    encoder_card,
    load_encoder_weights,
    read_encoder,
)
from medssl.transforms.chain import Preprocess

NETWORK = NetworkSettings(name="conv_fpn", width=4, levels=3)


def card(name):
    return DataCard(name=name, title="", licence="CC0", citation=name, simulated=False)


@pytest.fixture
def described():
    return VolumeEncoderCheckpoint(
        network=NETWORK,
        contrasts=("T1", "FLAIR"),
        preprocess=Preprocess.of({"mr": {"spacing": (1.0, 1.0, 1.0)}}),
        patch=(32, 32, 32),
        method={"name": "masked_image_modelling", "ratio": 0.6},
        paper="paper",
        data=(card("one"), card("two")),
        code="",
        step=7,
        metrics={"masked_error": 0.5},
        seen=("0" * 16,),
    )


@pytest.fixture
def folder(tmp_path, described):
    save_checkpoint(tmp_path / "last", build_encoder(NETWORK, 1, seed=3), described)
    return tmp_path / "last"


def test_what_is_saved_is_what_is_loaded(folder, described):
    weights, found = load_encoder_weights(folder)
    assert found == read_encoder(folder) == described
    wanted = build_encoder(NETWORK, 1, seed=3).state_dict()
    assert weights.keys() == wanted.keys()
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)


def test_it_is_of_the_family_of_pretraining_and_says_that_it_encodes_volumes(folder):
    assert checkpoint_family(folder) == "pretrain"
    plain = json.loads((folder / DESCRIPTION).read_text())
    assert (plain["encodes"], plain["channels"]) == ("volumes", 1)


def test_what_a_network_remembers_of_it(folder, described):
    found = encoder_card(folder, described)
    assert found.weights == weights_hash(folder)
    assert (found.method, found.step) == (described.method, 7)
    assert [one.citation for one in found.data] == ["one", "two"]


def test_the_hash_follows_the_weights(folder, tmp_path, described):
    save_checkpoint(tmp_path / "same", build_encoder(NETWORK, 1, seed=3), described)
    save_checkpoint(tmp_path / "other", build_encoder(NETWORK, 1, seed=4), described)
    assert weights_hash(tmp_path / "same") == weights_hash(folder)
    assert weights_hash(tmp_path / "other") != weights_hash(folder)


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is not a checkpoint"):
        read_encoder(tmp_path)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"family": "segment"}, "a trained segmentation network"),
        ({"family": "slide"}, "a trained slide classifier"),
        ({"encodes": None}, "an encoder of tiles of slides"),
        ({"family": "grade"}, "a checkpoint of the family 'grade'"),
    ],
)
def test_a_checkpoint_of_something_else_is_named(folder, change, what):
    (folder / CHECKSUMS).unlink()
    path = folder / DESCRIPTION
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UsageError) as caught:
        read_encoder(folder)
    assert caught.value.what.endswith(f"is {what}")
    assert "medssl pretrain" in caught.value.do


def test_a_description_of_another_version_is_refused(folder):
    (folder / CHECKSUMS).unlink()
    path = folder / DESCRIPTION
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
    with pytest.raises(DataError, match="cannot be understood; format: ") as caught:
        read_encoder(folder)
    assert "the version of medssl that wrote it" in caught.value.do


def test_damaged_weights_are_refused(folder):
    (folder / WEIGHTS).write_bytes(b"damaged")
    with pytest.raises(DataError, match="copy the checkpoint folder again"):
        load_encoder_weights(folder)


def test_an_encoder_cannot_predict_and_says_what_it_is_for(folder):
    with pytest.raises(UsageError, match="is a pre-trained encoder") as caught:
        read_description(folder)
    assert f"pretrain={folder}" in caught.value.do
