"""Every method that learns to segment teaches every head of nnU-Net's networks."""

import numpy as np
import pytest
import torch

from medssl.networks.unet_settings import UNetSettings
from tests.contract.killing import check_that_a_kill_changes_nothing
from tests.contract.segmenting import every_method, first_batches, losses

UNETS = [
    UNetSettings(
        name=name,
        features=(4, 6, 8, 8),
        strides=[[1, 1, 1], [2, 2, 2], [2, 2, 2], [1, 2, 2]],
        blocks=[1] * 4,
        decoder_convs=1,
    )
    for name in ("plain_unet", "residual_unet")
]

every_unet = pytest.mark.parametrize("network", UNETS, ids=lambda one: one.name)


@every_method
@every_unet
def test_every_head_of_a_unet_learns_with_every_method(name, network, build, streams):
    method = build(name, network=network)
    before = {key: one.clone() for key, one in method.named_parameters() if one.requires_grad}
    found = losses(method, first_batches(method, streams), 20)
    assert np.mean(found[-3:]) < 0.9 * np.mean(found[:3])
    for key, value in method.named_parameters():
        assert key not in before or value.ndim == 1 or not torch.equal(value, before[key]), key
    heads = [key for key in before if ".heads." in key and key.endswith("weight")]
    taught = len(list(method.networks()))
    assert len(heads) == 2 * taught, "the coarsest of three has no weight in the loss"


@every_unet
def test_a_killed_training_of_a_unet_ends_with_the_bits_of_an_unbroken_one(
    network, build, train, tmp_path
):
    check_that_a_kill_changes_nothing(
        lambda seed, state, last: train(
            build("tracoco", network=network, seed=seed), state, kill_after=last
        ),
        tmp_path,
        3,
    )
