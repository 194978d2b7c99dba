"""The U-Nets of nnU-Net in pipelines: trained, pre-trained, packaged, refused with a sentence."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from medssl.data.volume import read_mask
from medssl.errors import UsageError
from medssl.export.package import export_package
from medssl.families.segment.train import train as train_stage
from medssl.networks.unet_settings import UNetSettings
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import Job, make_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run, train
from medssl.pipeline.stage import Stage
from medssl.train.checkpoint import load_checkpoint
from medssl.train.description import WEIGHTS
from medssl.train.track import Tracker
from tests.train.volume_encoder import write_encoder

KEYS = "features: [4, 6, 8], strides: [[1,1,1],[2,2,1],[1,2,2]], blocks: [1,1,2], decoder_convs: 1"

every_unet = pytest.mark.parametrize("name", ["plain_unet", "residual_unet"])


def small(name: str) -> str:
    return f"network={{name: {name}, {KEYS}}}"


@every_unet
def test_a_whole_run_ends_with_masks_scores_and_a_package(name: str, balls: Path) -> None:
    config = load_config("balls", [small(name)])
    done = run(config, QuietReporter())
    masks = sorted(done["masks"].glob("*[0-9].nii.gz"))
    assert len(masks) == 3
    assert set(np.unique(read_mask(masks[0]).array)) <= {0, 3}
    export_package(done["model"], balls / "package")
    predictor, found = load_checkpoint(balls / "package")
    assert found.network == config.pipeline.network
    assert found.packages == {}
    with torch.inference_mode():
        assert predictor(torch.zeros(1, 1, *found.patch)).shape == (1, 2, *found.patch)


def test_its_name_alone_does(balls: Path) -> None:
    given = ["train.patch=[16,16,16]", "train.steps=1", "method=supervised"]
    assert train(load_config("balls", ["network=plain_unet", *given]), QuietReporter())["model"]
    chosen = load_config("balls", ["network=residual_unet", *given]).resolved()["network"]
    assert chosen["blocks"] == [1, 3, 4, 6]


@every_unet
@pytest.mark.parametrize("method", ["supervised", "mean_teacher", "cps", "tracoco"])
def test_every_method_starts_from_its_pre_trained_encoder(
    name: str, method: str, balls: Path
) -> None:
    still = ["fine_tune.schedule=frozen_then_whole", "fine_tune.frozen=0.9", "split.validation=0"]
    given = [small(name), f"method={method}", "pretrain=encoder", *still]
    network = load_config("balls", given).pipeline.network
    write_encoder(balls / "encoder", network)
    encoder = load_file(balls / "encoder" / WEIGHTS)
    plan, folder = make_plan(load_config("balls", given)), balls / "run"
    plan = replace(plan, stages={"train": Stage("train", "0", folder)})
    with Tracker(folder, "balls", "train", None, {}, {}) as tracker:
        train_stage(Job(plan, QuietReporter()), tracker)
    weights = load_file(folder / "checkpoint" / "last" / WEIGHTS)
    members = 1 + (method in {"cps", "tracoco"})
    for member, (key, value) in ((m, one) for m in range(members) for one in encoder.items()):
        assert torch.equal(weights[f"members.{member}.network.encoder.{key}"], value), key


def test_an_encoder_of_other_stages_is_refused_with_the_keys_to_set(balls: Path) -> None:
    config = load_config("balls", [small("plain_unet")])
    other = UNetSettings(name="plain_unet", features=(4, 8))
    with pytest.raises(UsageError, match="does not fit the pipeline's network") as caught:
        config.must_fit(other, "the encoder")
    assert "network.features=[4,8] network.strides=[[1,1,1],[2,2,2]]" in caught.value.do
    words = [word for word in caught.value.do.split() if "=" in word]
    load_config("balls", [small("plain_unet"), *words, "network.decoder_convs=1"])


def test_keys_stay_between_the_two_and_not_from_or_to_other_networks(balls: Path) -> None:
    both = load_config("balls", [small("plain_unet"), "network=residual_unet"]).pipeline.network
    assert both.features == (4, 6, 8)
    alone = load_config("balls", ["network=plain_unet", "train.patch=[16,16,16]"])
    assert alone.pipeline.network.features[0] == 32
    back = load_config("balls", [small("plain_unet"), "network=vnet", "network.levels=2"])
    assert back.pipeline.network.width == 16


def test_it_is_written_down_whole(balls: Path) -> None:
    config = load_config("balls", [small("residual_unet")])
    (balls / "again.yaml").write_text(yaml.safe_dump(config.resolved()))
    again = load_config(str(balls / "again.yaml"))
    assert again.resolved() == config.resolved()
    assert again.hash("network") == config.hash("network")


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        ("plain_unt", "did you mean 'plain_unet'?"),
        ("{name: plain_unet, featurs: [8, 8]}", "did you mean 'network.features'?"),
        ("{name: plain_unet, width: 8}", "plain_unet has no such key"),
        ("{name: plain_unet, features: [8, x]}", 'network.features=[8, "x"]'),
        ("{name: plain_unet, features: [8]}", "a list of whole numbers of at least 1"),
        (
            "{name: plain_unet, strides: [[1,1,1],[2,0,2]]}",
            "network.strides=[[1, 1, 1], [2, 0, 2]]",
        ),
        ("{name: plain_unet, strides: [[1,1,1]]}", "strides has 1 entries"),
        ("{name: plain_unet, deep_supervision: 3}", "network.deep_supervision=3"),
    ],
)
def test_a_wrong_key_is_refused_with_a_sentence(network: str, sentence: str, balls: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_config("balls", [f"network={network}"])
    assert sentence in str(caught.value)


def test_alice_refuses_its_instance_norms(balls: Path) -> None:
    with pytest.raises(UsageError, match="an instance norm leaves little") as caught:
        load_config("hippocampus_alice", ["network=plain_unet"])
    assert caught.value.do == "choose network.name=conv_fpn or swin_fpn"
