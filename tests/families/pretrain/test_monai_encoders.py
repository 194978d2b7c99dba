"""The encoders of MONAI's networks are pre-trained, and segmentation starts from them."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from medssl.errors import UsageError
from medssl.networks.settings import MONAI_ENCODERS
from medssl.pipeline.config import load_config
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run
from medssl.train.checkpoint import load_checkpoint, read_weights

NETWORKS = {
    "monai:DynUNet": (
        {
            "kernel_size": [3, 3, 3],
            "strides": [1, 2, 2],
            "upsample_kernel_size": [2, 2],
            "filters": [2, 4, 8],
        },
        [8, 8, 8],
    ),
    "monai:SegResNet": ({"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]}, [8, 8, 8]),
    "monai:SwinUNETR": (
        {"feature_size": 12, "depths": [1] * 4, "num_heads": [1] * 4, "window_size": 2},
        [64, 32, 32],
    ),
}

FILLING = "method={name: masked_image_modelling, masking: {cell: 4}, decoder_width: 2}"


def test_these_are_all_that_have_one() -> None:
    assert NETWORKS.keys() == MONAI_ENCODERS.keys()


@pytest.mark.parametrize("name", NETWORKS)
def test_masks_start_from_what_filling_in_has_taught(name: str, heads: Path) -> None:
    arguments, patch = NETWORKS[name]
    network = yaml.safe_dump({"name": name, **arguments}, default_flow_style=True)
    given = [f"network={network}", f"train.patch={patch}", "train.steps=1"]
    encoder = run(
        load_config("encoder", [*given, FILLING, "probe.patients=0", "exclude=[masks]"]),
        QuietReporter(),
    )["model"]
    described = json.loads((encoder / "checkpoint.json").read_text())
    assert described["network"]["name"] == name

    resting = ["fine_tune.schedule=frozen_then_whole", "fine_tune.frozen=0.9"]
    model = run(load_config("masks", [*given, *resting, f"pretrain={encoder}"]), QuietReporter())
    predictor, found = load_checkpoint(model["model"])
    assert found.encoder is not None
    own = predictor.members[0].encoder.state_dict()
    taught = read_weights(encoder)
    assert own.keys() == taught.keys()
    stem = predictor.members[0].encoder.stem
    taught[stem] = taught[stem].repeat_interleave(2, dim=1) / 2  # two channels from one
    for key in own:
        if "running" not in key and "num_batches" not in key:
            assert torch.equal(own[key], taught[key]), key


def test_an_encoder_of_other_arguments_is_refused(heads: Path) -> None:
    small = "network={name: monai:SegResNet, init_filters: 8, blocks_down: [1, 1], blocks_up: [1]}"
    given = ["train.patch=[8,8,8]", "train.steps=1", small]
    encoder = run(load_config("encoder", [*given, FILLING, "probe.patients=0"]), QuietReporter())
    chosen = load_config(
        "masks", [*given, "network.init_filters=16", f"pretrain={encoder['model']}"]
    )
    with pytest.raises(UsageError, match=r"set network\.init_filters=8"):
        run(chosen, QuietReporter())


def test_a_patch_that_does_not_fit_is_refused_before_data_are_read(heads: Path) -> None:
    for path in (heads / "data" / "heads").iterdir():
        path.write_bytes(b"damaged")
    given = ["network=monai:SegResNet", "train.patch=[12,16,16]", FILLING]
    with pytest.raises(UsageError, match=r"the nearest that fits is train.patch=\[16, 16, 16\]"):
        run(load_config("encoder", given), QuietReporter())
