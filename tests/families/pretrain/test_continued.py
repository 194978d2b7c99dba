"""Pre-training that goes on with an encoder: by every method that learns from volumes."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from medssl.errors import UsageError
from medssl.methods.encoder_method import PretrainTask
from medssl.methods.registry import implementation, settings_class
from medssl.networks.build import build_encoder
from medssl.networks.settings import NetworkSettings
from medssl.networks.transfer import PretrainedEncoder
from medssl.pipeline.config import load_config
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run
from medssl.train.description import WEIGHTS, description_of
from medssl.train.imported import import_file
from tests.contract.test_pretrain_methods import METHODS, OF_PLACES, SMALLER
from tests.pipeline.test_imported import unet_file

NETWORK = NetworkSettings(name="conv_fpn", width=8, levels=3)


@pytest.mark.parametrize("name", sorted(set(METHODS) - OF_PLACES))
def test_every_method_begins_with_the_given_weights(name):
    given = build_encoder(NETWORK, 1, seed=9).state_dict()
    settings = settings_class(name)(**SMALLER.get(name, {}))
    task = PretrainTask(NETWORK, (16, 16, 16), ("t1", "t2"), 6, PretrainedEncoder(given))
    method = implementation(settings)(settings, task, 0)
    found = method.encoder().state_dict()
    assert all(torch.equal(found[key], value) for key, value in given.items())


def test_a_run_goes_on_with_an_imported_encoder(heads: Path, monkeypatch):
    monkeypatch.setenv("MEDSSL_ENCODERS", str(heads / "encoders"))
    folder, _ = import_file(unet_file(heads), "mine")
    how = ["pretrain=mine", "train.steps=1", "probe.patients=0", "exclude=[masks]"]
    still = ["train.optimiser.learning_rate=1e-9", "train.optimiser.minimum=0"]
    filling = "method={name: masked_image_modelling, masking: {cell: 4}, decoder_width: 2}"
    model = run(load_config("encoder", [*how, *still, filling]), QuietReporter())["model"]
    given, learnt = load_file(folder / WEIGHTS), load_file(model / WEIGHTS)
    assert given.keys() == learnt.keys()
    for name, value in given.items():
        torch.testing.assert_close(learnt[name], value, atol=1e-6, rtol=0)
    assert description_of(model)["network"]["name"] == "plain_unet"


def test_a_method_with_a_network_of_its_own_takes_none(heads: Path, monkeypatch):
    monkeypatch.setenv("MEDSSL_ENCODERS", str(heads / "encoders"))
    import_file(unet_file(heads), "mine")
    with pytest.raises(UsageError, match=r"has a network of its own.*leave pretrain out"):
        load_config("encoder", ["pretrain=mine", "method=anatomical_embedding"])
