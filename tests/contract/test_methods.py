"""What every method that learns to segment promises, whoever wrote it (`medssl.methods.method`)."""

from functools import cache
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch

from medssl.data.labels import Label
from medssl.methods.method import Progress
from medssl.methods.registry import settings_class
from medssl.methods.segment.loss_settings import LossChoice
from medssl.networks.settings import NetworkSettings
from medssl.networks.unet_settings import UNetSettings
from medssl.settings import (
    OptimiserSettings,
    PredictSettings,
    TrainSettings,
)
from medssl.train.checkpoint import Checkpoint, DataCard, load_checkpoint, save_checkpoint
from medssl.train.update import make_update
from medssl.transforms.chain import Preprocess
from tests.contract.conftest import SEED, build_method, train_method
from tests.contract.killing import check_that_a_kill_changes_nothing, equal
from tests.contract.training import training

METHODS = training("segment")
PRESETS = [(name, preset) for name in METHODS for preset in settings_class(name).presets]
RESUMED = [
    *((name, {}) for name in METHODS),
    ("ad_mt", {"longest_turn": 2}),
    ("tri_training", {"rounds": 1, "gate": 0, "measured": 0.5, "warm": True}),
    ("bcp", {"first_stage": 0.5}),  # killed in the second stage, with a state of the first
]

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
every_method = pytest.mark.parametrize("name", METHODS)


NOISY = {"norm": "batch", "dropout": 0.5}


@cache
def whole(patch, name):
    """A method after 4 steps, and its weights; several tests hold others against it."""
    method = build_method(patch, name, **NOISY)
    with TemporaryDirectory() as folder:
        return method, train_method(patch, method, Path(folder) / "state.pt")


def first_batches(method, streams):
    return {kind: stream.batch(0) for kind, stream in streams(method).items()}


def losses(method, batches, steps, rate=0.05):
    """The loss of every step on the same batches, late in training: every term has its weight."""
    settings = TrainSettings(
        steps=1000, optimiser=OptimiserSettings(learning_rate=rate, schedule="constant")
    )
    update = make_update(method, settings, 0, torch.device("cpu"))
    return [update(batches, Progress(900 + step, 1000))["loss"] for step in range(1, steps + 1)]


@every_method
def test_every_parameter_gets_a_finite_gradient(name, build, streams):
    method = build(name).train()
    batches = first_batches(method, streams)
    generator = torch.Generator().manual_seed(0)
    for part in range(method.parts):
        terms = method(batches, Progress(900, 1000), generator, part)  # every term has its weight
        assert all(bool(value.isfinite()) for value in terms.values())
        sum(terms.values()).backward()
    trainable = {key: p for key, p in method.named_parameters() if p.requires_grad}
    for key, parameter in trainable.items():
        assert parameter.grad is not None, key
        assert bool(parameter.grad.isfinite().all()), key
        # A bias before a normalisation has none to get.
        assert parameter.ndim == 1 or bool(parameter.grad.any()), key
    owned = {id(p) for network in method.networks() for p in network.parameters()}
    assert {id(p) for p in trainable.values()} <= owned, "clipping would pass over a parameter"


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


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_every_preset_trains(name, preset, build, streams):
    method = build(name, preset=preset)
    assert all(isfinite(loss) for loss in losses(method, first_batches(method, streams), 2))


@every_method
def test_twenty_steps_lower_the_loss(name, build, streams):
    method = build(name)
    found = losses(method, first_batches(method, streams), 20)
    assert np.mean(found[-3:]) < 0.9 * np.mean(found[:3])


@every_method
def test_a_loss_by_name_stands_in_place_of_the_own(name, build, streams):
    chosen = LossChoice.model_validate("monai:DiceFocalLoss")
    given = first_batches(build(name), streams)
    (own,), found = losses(build(name), given, 1), losses(build(name, loss=chosen), given, 20)
    assert own != found[0]
    assert np.mean(found[-3:]) < 0.9 * np.mean(found[:3])


@every_method
def test_another_seed_gives_other_weights(name, build, train, patch, tmp_path):
    other = train(build(name, seed=SEED + 1, **NOISY), tmp_path / "state.pt")
    assert not equal(whole(patch, name)[1], other)


@pytest.mark.parametrize(("name", "settings"), RESUMED)
def test_a_killed_training_ends_with_the_bits_of_an_unbroken_one(
    name, settings, build, train, patch, tmp_path
):
    check_that_a_kill_changes_nothing(
        lambda seed, state, last: train(
            build(name, seed=seed, **NOISY, **settings), state, kill_after=last
        ),
        tmp_path,
        3,
        None if settings else whole(patch, name)[1],
    )


@every_method
def test_labels_of_unlabelled_cases_never_matter(name, build, train, patch, tmp_path):
    _, known = whole(patch, name)
    for index, change in enumerate([lambda mask: 2 - mask, lambda _: None]):
        method = build(name, **NOISY)
        assert equal(train(method, tmp_path / f"{index}.pt", unlabelled=change), known)


@every_method
def test_building_leaves_the_global_generator_alone(name, build):
    before = torch.random.get_rng_state()
    build(name)
    assert torch.equal(torch.random.get_rng_state(), before)


@every_method
def test_the_predictor_survives_packaging(name, patch, tmp_path):
    method, _ = whole(patch, name)
    predictor = method.eval().predictor()
    save_checkpoint(tmp_path / "last", predictor, describe(len(predictor.members), patch))
    loaded, _ = load_checkpoint(tmp_path / "last")
    image = torch.randn(2, 1, *patch, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits = predictor(image)
        assert logits.shape == (2, 3, *patch)
        assert torch.equal(loaded(image), logits)


def describe(members, patch):
    network = NetworkSettings(name="vnet", width=2, levels=3, norm="batch", dropout=0.5)
    return Checkpoint(
        network=network.sized(patch),
        members=members,
        channels=("T1",),
        labels=(Label(value=1, name="ball"), Label(value=2, name="rim")),
        modality="MR",
        patch=patch,
        preprocess=Preprocess.of("mr"),
        predict=PredictSettings(),
        method={},
        paper="",
        split_hash="",
        data=DataCard(name="toy", title="", licence="", citation="", simulated=True),
        code="",
        step=4,
        metrics={},
    )
