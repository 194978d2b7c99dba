"""The encoders of MONAI's networks are pre-trained, and segmentation starts from them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from medssl.errors import UsageError
from medssl.networks.build import build_network
from medssl.networks.monai_encoder_keys import MONAI_ENCODERS
from medssl.pipeline.config import load_config
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run, train
from medssl.train.checkpoint import load_checkpoint, read_weights
from tests.told import Told

FEW = [4, 4, 4, 4, 4, 4]
NETWORKS: dict[str, tuple[dict[str, Any], list[int]]] = {
    "monai:AttentionUnet": ({"channels": [4, 8], "strides": [2]}, [8, 8, 8]),
    "monai:AutoEncoder": ({"channels": [4, 8], "strides": [2, 2]}, [8, 8, 8]),
    "monai:AutoencoderKL": (
        {
            "channels": [4, 4],
            "num_res_blocks": 1,
            "attention_levels": [False, False],
            "norm_num_groups": 2,
        },
        [8, 8, 8],
    ),
    "monai:BasicUNet": ({"features": FEW}, [32, 16, 16]),
    "monai:BasicUNetPlusPlus": ({"features": FEW}, [32, 16, 16]),
    "monai:DynUNet": (
        {
            "kernel_size": [[3, 3, 1], 3, 3],
            "strides": [1, [2, 2, 1], 2],
            "upsample_kernel_size": [[2, 2, 1], 2],
            "filters": [4, 4, 8],
            "res_block": True,
        },
        [8, 8, 4],
    ),
    "monai:FlexibleUNet": ({"backbone": "efficientnet-b0"}, [32, 32, 32]),
    "monai:LocalNet": ({"num_channel_initial": 4, "extract_levels": [0, 1, 2]}, [16, 16, 16]),
    "monai:MedNeXt": (
        {"init_filters": 4, "kernel_size": 3, "blocks_down": [1], "blocks_up": [1]},
        [8, 8, 8],
    ),
    "monai:RegUNet": ({"num_channel_initial": 4, "depth": 2}, [16, 16, 16]),
    "monai:SegResNet": ({"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]}, [8, 8, 8]),
    "monai:SegResNetDS": ({"init_filters": 4, "blocks_down": [1, 1]}, [8, 8, 8]),
    "monai:SegResNetDS2": ({"init_filters": 4, "blocks_down": [1, 1]}, [8, 8, 8]),
    "monai:SegResNetVAE": ({"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]}, [8, 8, 8]),
    "monai:SwinUNETR": (
        {"feature_size": 12, "depths": [1] * 4, "num_heads": [1] * 4, "window_size": 2},
        [64, 32, 32],
    ),
    "monai:UNETR": (
        {"hidden_size": 12, "mlp_dim": 12, "num_heads": 2, "feature_size": 4},
        [32, 16, 16],
    ),
    "monai:UNet": ({"channels": [4, 8], "strides": [2], "num_res_units": 1}, [8, 8, 8]),
    "monai:VNet": ({}, [16, 16, 16]),
    "monai:VQVAE": (
        {
            "channels": [4],
            "num_res_channels": [4],
            "num_res_layers": 1,
            "downsample_parameters": [[2, 4, 1, 1]],
            "upsample_parameters": [[2, 4, 1, 1, 0]],
        },
        [8, 8, 8],
    ),
}

FILLING = "method={name: masked_image_modelling, masking: {cell: 4}, decoder_width: 2}"
LARGE = {"monai:UNETR": ["method.masking.cell=16"]}
"""Cubes of the networks that embed cells of more than 4 voxels."""


def test_these_are_all_that_have_one() -> None:
    assert NETWORKS.keys() == MONAI_ENCODERS.keys()


@pytest.mark.parametrize("name", NETWORKS)
def test_masks_start_from_what_filling_in_has_taught(name: str, heads: Path) -> None:
    arguments, patch = NETWORKS[name]
    network = yaml.safe_dump({"name": name, **arguments}, default_flow_style=True)
    given = [f"network={network}", f"train.patch={patch}", "train.steps=1"]
    alone = [FILLING, *LARGE.get(name, []), "probe.patients=0", "exclude=[masks]"]
    encoder = run(load_config("encoder", [*given, *alone]), QuietReporter())["model"]
    described = json.loads((encoder / "checkpoint.json").read_text())
    assert described["network"]["name"] == name

    resting = ["fine_tune.schedule=frozen_then_whole", "fine_tune.frozen=0.9"]
    chosen = load_config("masks", [*given, *resting, f"pretrain={encoder}"])
    told = Told()
    model = train(chosen, told)
    assert any("100.0% of the parameters matched" in note for note in told.notes)
    predictor, found = load_checkpoint(model["model"])
    assert found.encoder is not None
    own = predictor.members[0].encoder.state_dict()
    taught = read_weights(encoder)
    assert own.keys() == taught.keys()
    for stem in predictor.members[0].encoder.stems:
        taught[stem] = taught[stem].repeat_interleave(2, dim=1) / 2  # two channels from one
    for key in own:
        if "running" not in key and "num_batches" not in key:
            assert torch.equal(own[key], taught[key]), key
    random = build_network(found.network, 2, 2, chosen.pipeline.seed).encoder.state_dict()
    assert any(not torch.equal(own[key], random[key]) for key in own if key.endswith("weight"))


@pytest.mark.parametrize(
    ("name", "other", "advice"),
    [
        ("monai:SegResNet", "network.init_filters=16", r"set network\.init_filters=8"),
        ("monai:UNETR", "network.hidden_size=24", r"set network\.hidden_size=12"),
    ],
)
def test_an_encoder_of_other_arguments_is_refused(
    name: str, other: str, advice: str, heads: Path
) -> None:
    arguments, patch = NETWORKS[name]
    network = yaml.safe_dump({"name": name, **arguments}, default_flow_style=True)
    given = [f"network={network}", f"train.patch={patch}", "train.steps=1"]
    alone = [FILLING, *LARGE.get(name, []), "probe.patients=0"]
    encoder = run(load_config("encoder", [*given, *alone]), QuietReporter())
    chosen = load_config("masks", [*given, other, f"pretrain={encoder['model']}"])
    with pytest.raises(UsageError, match=advice):
        run(chosen, QuietReporter())


def test_learnt_places_are_resized_to_another_patch_and_the_log_says_so(heads: Path) -> None:
    arguments, patch = NETWORKS["monai:UNETR"]
    network = yaml.safe_dump({"name": "monai:UNETR", **arguments}, default_flow_style=True)
    given = [f"network={network}", "train.steps=1"]
    alone = [*given, FILLING, *LARGE["monai:UNETR"], "probe.patients=0", "exclude=[masks]"]
    encoder = run(load_config("encoder", [*alone, f"train.patch={patch}"]), QuietReporter())
    small = ["train.patch=[32,32,16]", f"pretrain={encoder['model']}"]
    told = Told()
    train(load_config("masks", [*given, *small]), told)
    run(load_config("encoder", [*alone, *small]), told)
    resized = [one for one in told.notes if "places of 2x1x1 cells resized to 2x2x1" in one]
    assert len(resized) == 2


def test_a_patch_that_does_not_fit_is_refused_before_data_are_read(heads: Path) -> None:
    for path in (heads / "data" / "heads").iterdir():
        path.write_bytes(b"damaged")
    given = ["network=monai:SegResNet", "train.patch=[12,16,16]", FILLING]
    with pytest.raises(UsageError, match=r"the nearest that fits is train.patch=\[16, 16, 16\]"):
        run(load_config("encoder", given), QuietReporter())
