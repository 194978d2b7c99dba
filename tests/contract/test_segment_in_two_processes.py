"""Every method that segments learns in two processes what it learns in one, from the same batch.

So it does where each process holds a part of the weights.
"""

from functools import cache, partial

import pytest
import torch

from medssl.networks.monai_settings import MonaiSettings
from medssl.settings import OptimiserSettings, TrainSettings
from tests.contract.conftest import build_method, make_streams
from tests.contract.training import training
from tests.contract.two_processes import both, must_agree, stepped

METHODS = training("segment")
PATCH = (16, 16, 16)
LATE = {name: (name, {}, 901, 1000) for name in METHODS}
"""Where every term has its weight."""
UNET = MonaiSettings(
    name="monai:UNet", channels=[4, 8], strides=[2], num_res_units=0, norm="instance"
)
UNETR = MonaiSettings(name="monai:UNETR", hidden_size=12, mlp_dim=12, num_heads=2, feature_size=4)
WEAK = {"features": {"kind": "weak"}, "feature_weight": 0.5}
OTHERS = {
    "tracoco with dropout": ("tracoco", {"dropout": 0.5}, 901, 1000),
    "unimatch, perturbed features": ("unimatch", WEAK, 901, 1000),
    "unimatch, complementary features": (
        "unimatch", {"features": {"kind": "complementary"}}, 901, 1000),
    "unimatch, perturbed features of MONAI's U-Net": (
        "unimatch", WEAK | {"network": UNET}, 901, 1000),
    "unimatch, complementary features of UNETR": (
        "unimatch", {"features": {"kind": "complementary"}, "network": UNETR}, 901, 1000),
    "dmpls, features of UNETR": ("dmpls", {"network": UNETR}, 901, 1000),
    "dmpls, features of MONAI's U-Net": ("dmpls", {"network": UNET}, 901, 1000),
    "bcp, first stage": ("bcp", {}, 1, 1000),
    "tri_training, over a round": (
        "tri_training", {"rounds": 1, "gate": 0, "measured": 0.5, "warm": True}, 1, 6),
    "self_training, over a round": ("self_training", {"rounds": 1, "warm": False}, 1, 6),
    "ad_mt, over a turn": ("ad_mt", {"longest_turn": 1}, 901, 1000),
}  # fmt: skip
BATCH_NORM = {
    f"{name} with batch norm": (name, {"norm": "batch"}, 901, 1000)
    for name in ("supervised", "tracoco", "ad_mt", "unimatch")
}
CASES = LATE | OTHERS | BATCH_NORM


def train(name, keys, first, steps, sharded=False):
    method = build_method(PATCH, name, **keys)
    settings = TrainSettings(
        steps=steps,
        patch=PATCH,
        optimiser=OptimiserSettings(learning_rate=0.01, schedule="constant"),
        device="cpu",
        sharded=sharded,
    )
    count = 5 if steps < 10 else 2
    return stepped(method, make_streams(PATCH, method), settings, first, count)


@cache
def alone(name):
    return train(*CASES[name])


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    torch.set_num_threads(1)
    trainings = {
        f"{name}, sharded={sharded}": partial(train, *how, sharded=sharded)
        for name, how in CASES.items()
        for sharded in (False, True)
    }
    return both(trainings, tmp_path_factory.mktemp("both"))


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_two_processes_learn_what_one_does(name, sharded, found):
    must_agree(found[f"{name}, sharded={sharded}"], alone(name))
