"""One update: what is refused, how far gradients go, which rate."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from medssl.errors import MedsslError, UsageError
from medssl.settings import TrainSettings
from medssl.train import update
from medssl.train.optimiser import build_optimiser
from medssl.train.seeds import step_seeds
from medssl.train.update import _store_channels_last

BATCH_NORMS = [
    ({"accumulate": 2}, "train.accumulate cannot be had with 2 processes and batch norms"),
    ({"checkpointing": True, "accumulate": 2}, "train.accumulate and train.checkpointing cannot"),
]
PLAIN = {"name": "sgd", "learning_rate": 1.0, "momentum": 0.0, "weight_decay": 0.0}


def test_a_term_that_is_not_finite_is_named_with_its_cases(training, pair):
    run = training(method=pair(scale=float("nan")))
    before = run.weights
    with pytest.raises(MedsslError) as caught:
        run.run()
    assert caught.value.what == "the loss error_2 is not finite at step 1"
    assert caught.value.why == "the batch held the cases c0, c1"
    assert torch.equal(run.weights, before)
    assert run.ended == 1
    assert run.saved == []


def test_a_case_whose_voxels_are_not_finite_is_named_alone(training):
    run = training()
    next(case for case in run.cases if case.id == "c1").image[...] = np.inf
    with pytest.raises(MedsslError) as caught:
        run.run()
    assert caught.value.what == "the loss error_1 and error_2 is not finite at step 1"
    assert caught.value.why == "values of c1 are not finite"


def test_gradients_are_clipped_per_network(training, pair):
    """With a rate of 1 and plain descent, the first step is the clipped gradient itself."""
    run = training(method=pair(scale=1000.0))
    before = run.weights
    run.run(steps=1, clip_norm=0.01, optimiser={**PLAIN, "schedule": "constant"})
    moved = (run.weights - before).reshape(2, 2).norm(dim=1)
    torch.testing.assert_close(moved, torch.full((2,), 0.01), rtol=1e-3, atol=0)


def test_gradients_are_clipped_per_tensor_if_asked(training, pair):
    run = training(method=pair(scale=1000.0))
    before = run.weights
    optimiser = {**PLAIN, "schedule": "constant"}
    run.run(steps=1, clip_norm=0.01, clip_by="tensor", optimiser=optimiser)
    # Of each network's weight and bias, one number each, none moves further than the bound.
    torch.testing.assert_close(
        (run.weights - before).abs(), torch.full((4,), 0.01), rtol=1e-3, atol=0
    )


def test_without_a_bound_gradients_are_left_alone(training, pair):
    run = training(method=pair(scale=1000.0))
    before = run.weights
    run.run(steps=1, optimiser={**PLAIN, "schedule": "constant"})
    first, second = (run.weights - before).reshape(2, 2).norm(dim=1)
    assert second > 100 * first > 1


def test_the_rate_of_the_schedule_is_used(training):
    run = training()
    run.run(steps=4, optimiser={"learning_rate": 0.05, "schedule": "polynomial", "power": 1.0})
    rates = [values["learning_rate"] for values in run.steps.values()]
    np.testing.assert_allclose(rates, [0.0375, 0.025, 0.0125, 0.0])


def test_a_rate_of_zero_moves_nothing(training):
    run = training()
    before = run.weights
    run.run(steps=1, optimiser={"schedule": "polynomial"})
    assert torch.equal(run.weights, before)


def test_half_precision_trains_too(training):
    run = training()
    run.run(precision="bfloat16", optimiser={"learning_rate": 0.1, "schedule": "constant"})
    assert run.steps[6]["loss"] < run.steps[1]["loss"]
    assert run.weights.dtype == torch.float32


def test_what_needs_no_gradient_is_not_optimised(pair):
    method = pair()
    method.pair[0].requires_grad_(False)
    (group,) = build_optimiser(method, TrainSettings()).param_groups
    assert [id(p) for p in group["params"]] == [id(p) for p in method.pair[1].parameters()]


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_a_group_moves_at_its_own_factor_of_the_rate(training, pair, name):
    class Uneven(pair):
        def rate_factors(self):
            yield 1.0, list(self.pair[0].parameters())
            yield 0.0, list(self.pair[1].parameters())

    run = training(method=Uneven())
    before = run.weights
    run.run(steps=2, optimiser={"name": name, "learning_rate": 0.1, "schedule": "constant"})
    first, second = (run.weights - before).reshape(2, 2).abs().sum(dim=1)
    assert first > 0
    assert second == 0


@pytest.mark.parametrize(("vectors", "bias"), [(True, 0.48), (False, 0.5)])
def test_weight_decay_follows_its_schedule(training, pair, vectors, bias):
    """Without a gradient a weight of 0.5 keeps 1 - rate x decay of itself: 0 at first, then 0.4."""
    how = {**PLAIN, "learning_rate": 0.1, "schedule": "constant"}
    run = training(method=pair(scale=0.0))
    run.run(steps=2, optimiser={**how, "weight_decay_end": 0.8, "decay_vectors": vectors})
    weight, offset = (p.item() for p in run.method.pair[1].parameters())
    assert (weight, offset) == pytest.approx((0.48, bias))


def test_biases_and_norms_are_a_group_of_their_own_where_they_do_not_decay(pair):
    chosen = TrainSettings(optimiser={"decay_vectors": False, "weight_decay": 0.3})
    decaying, steady = build_optimiser(pair(), chosen).param_groups
    assert [p.ndim for p in decaying["params"]] == [5, 5]
    assert [p.ndim for p in steady["params"]] == [1, 1]
    assert (decaying["decays"], steady["decays"]) == (True, False)
    assert decaying["factor"] == steady["factor"] == 1.0


def test_every_step_of_every_seed_draws_anew():
    pairs = [step_seeds(seed, step) for seed in range(20) for step in range(1, 51)]
    assert len({drawn for pair in pairs for drawn in pair}) == 2000  # dropout apart from noise


def test_channels_last_stores_weights_of_volumes_and_of_slices():
    mixed = torch.nn.ModuleList([torch.nn.Conv3d(2, 4, 3), torch.nn.Conv2d(2, 4, 3)])
    _store_channels_last(mixed)
    volumes, slices = mixed
    assert volumes.weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert slices.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("asked", "words"), BATCH_NORMS)
def test_batch_norms_of_several_processes_are_not_computed_once_more(asked, words, monkeypatch):
    """Refused before the first step, by the keys that were set and with what to do instead."""
    monkeypatch.setattr(update, "TEAM", SimpleNamespace(together=True, size=2))
    settings = TrainSettings(steps=1, patch=(8, 8, 8), **asked)
    with pytest.raises(UsageError, match=words) as caught:
        update.make_update(nn.BatchNorm3d(2), settings, 0, torch.device("cpu"))
    assert "network.norm=instance" in caught.value.do
    assert "start one process" in caught.value.do


@pytest.mark.parametrize(("mode", "turns", "count"), [(True, 2, 1), (False, 2, 0), (True, 1, 0)])
def test_batch_norms_that_see_a_turn_alone_are_told_of(mode, turns, count, pair, monkeypatch):
    """Unless they rest, as those of pre-trained encoders do."""
    method, norm, told = pair(), nn.BatchNorm3d(2), []
    method.norm = norm
    monkeypatch.setattr(norm, "train", lambda *_: nn.Module.train(norm, mode))
    settings = TrainSettings(steps=1, patch=(8, 8, 8), accumulate=turns)
    update.make_update(method, settings, 0, torch.device("cpu"), note=told.append)
    assert len([one for one in told if "batch norms see the rows of one turn" in one]) == count
