"""What every method that learns to segment promises, whoever wrote it (`medssl.methods.method`)."""

from functools import cache
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch

from medssl.data.labels import Label
from medssl.methods.registry import settings_class
from medssl.methods.segment.loss_settings import LossChoice
from medssl.networks.monai_settings import MonaiSettings
from medssl.networks.settings import NetworkSettings
from medssl.settings import PredictSettings
from medssl.train.checkpoint import Checkpoint, DataCard, load_checkpoint, save_checkpoint
from medssl.transforms.chain import Preprocess
from tests.contract.conftest import SEED, build_method, train_method
from tests.contract.killing import check_that_a_kill_changes_nothing, equal
from tests.contract.segmenting import LATE, METHODS, every_method, first_batches, losses

PRESETS = [(name, preset) for name in METHODS for preset in settings_class(name).presets]
UNETR = MonaiSettings(name="monai:UNETR", hidden_size=12, mlp_dim=12, num_heads=2, feature_size=4)
RESUMED = [
    *((name, {}) for name in METHODS),
    ("ad_mt", {"longest_turn": 2}),
    ("tri_training", {"rounds": 1, "gate": 0, "measured": 0.5, "warm": True}),
    *((name, {"network": UNETR}) for name in ("dmpls", "unimatch")),  # its features are searched
    ("bcp", {"first_stage": 0.5}),  # killed in the second stage, with a state of the first
]
NOISY = {"norm": "batch", "dropout": 0.5}


@cache
def whole(patch, name):
    """A method after 4 steps, and its weights; several tests hold others against it."""
    method = build_method(patch, name, **NOISY)
    with TemporaryDirectory() as folder:
        return method, train_method(patch, method, Path(folder) / "state.pt")


@every_method
def test_every_parameter_gets_a_finite_gradient(name, build, streams):
    method = build(name).train()
    batches = first_batches(method, streams)
    generator = torch.Generator().manual_seed(0)
    for part in range(method.parts):
        terms = method(batches, LATE, generator, part)
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
