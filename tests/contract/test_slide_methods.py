"""What every slide method promises, whoever wrote it (`medssl.methods.method.BagMethod`)."""

from math import isfinite

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from medssl.data.bags.bag import Bag, BagStream
from medssl.methods.method import BagTask, Progress
from medssl.methods.registry import implementation, settings_class
from medssl.train.update import make_update
from tests.contract.killing import (
    check_that_seed_and_state_decide,
    constant,
    trained,
)
from tests.contract.training import training

METHODS = training("slide")
PRESETS = [(name, preset) for name in METHODS for preset in settings_class(name).presets]
WIDTH, SEED = 16, 5
ORDERED = {"transmil"}
"""Methods whose answer depends on the order of the patches."""
SMALLER = {"transmil": {"embed_width": 32, "landmarks": 8}}
"""Sizes that would make these tests slow; all else is the default."""

every_method = pytest.mark.parametrize("name", METHODS)
every_count = pytest.mark.parametrize("classes", [2, 3])


def make(name, *, preset=None, classes=2, seed=SEED):
    kind = settings_class(name)
    chosen = {} if preset is None else kind.presets[preset]
    settings = kind(**chosen, **SMALLER.get(name, {}))
    names = tuple(f"class{n}" for n in range(classes))
    return implementation(settings)(settings, BagTask(WIDTH, names, (2,) * classes), seed)


def bags(classes=2):
    """Two bags of each class, whose class shows in a few of 12-25 patches."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(2 * classes):
        features = rng.normal(size=(rng.integers(12, 26), WIDTH)).astype(np.float32)
        features[:3, number % classes] += 3
        found.append(Bag(f"bag{number}", f"patient{number}", number % classes, features))
    return found


def train(method, state_file, kill_after=0):
    """6 steps of the real loop, over the end of an epoch; all weights after."""
    streams = {"bags": BagStream(bags(), SEED)}
    return trained(method, streams, constant(6), state_file, kill_after, SEED)


@every_method
@every_count
def test_every_parameter_that_the_labels_reach_gets_a_finite_gradient(name, classes):
    method = make(name, classes=classes).train()
    stream = BagStream(bags(classes), SEED)
    for number in range(2 * classes):  # some parameters belong to one class
        terms = method({"bags": stream.batch(number)}, Progress(1, 10), torch.Generator())
        assert all(value.ndim == 0 and bool(value.isfinite()) for value in terms.values())
        sum(terms.values()).backward()
    for key, parameter in method.named_parameters():
        assert parameter.grad is not None, key
        assert bool(parameter.grad.isfinite().all()), key
        # A bias before a softmax has none to get.
        assert parameter.ndim == 1 or bool(parameter.grad.any()), key
    trained = {id(p) for p in method.parameters() if p.requires_grad}
    assert {id(p) for _, group in method.rate_factors() for p in group} == trained
    assert {id(p) for network in method.networks() for p in network.parameters()} >= trained


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_every_preset_trains(name, preset):
    update = make_update(make(name, preset=preset), constant(2), 0, torch.device("cpu"))
    stream = BagStream(bags(), SEED)
    for step in (1, 2):
        assert isfinite(update({"bags": stream.batch(step)}, Progress(step, 2))["loss"])


@every_method
@every_count
def test_twenty_steps_lower_the_loss(name, classes):
    method, steps = make(name, classes=classes), 20
    update = make_update(method, constant(steps, 3e-3), 0, torch.device("cpu"))
    batch = {"bags": BagStream(bags(classes), SEED).batch(0)}
    found = [update(batch, Progress(step, steps))["loss"] for step in range(1, steps + 1)]
    assert np.mean(found[-3:]) < 0.9 * np.mean(found[:3])


@every_method
def test_a_killed_training_ends_with_the_bits_of_an_unbroken_one_of_its_seed_alone(name, tmp_path):
    check_that_seed_and_state_decide(
        lambda seed, state, last: train(make(name, seed=seed), state, last), tmp_path, 5
    )


@every_method
def test_it_builds_from_its_defaults_and_leaves_the_global_generator_alone(name):
    before = torch.random.get_rng_state()
    settings = settings_class(name)()
    implementation(settings)(settings, BagTask(WIDTH, ("no", "yes"), (2, 2)), SEED)
    assert torch.equal(torch.random.get_rng_state(), before)


@every_method
@every_count
def test_the_predictor_answers_with_a_distribution(name, classes):
    predictor = make(name, classes=classes).eval().predictor()
    rows = torch.from_numpy(bags()[0].features)
    with torch.inference_mode():
        answer = predictor(rows)
        again = predictor(rows)
    assert torch.equal(answer.probability, again.probability)
    assert answer.probability.shape == (classes,)
    assert answer.probability.min() >= 0
    assert answer.probability.sum().item() == pytest.approx(1)
    if answer.instances is not None:
        assert answer.instances.shape == (len(rows), classes)
        assert answer.instances.min() >= 0
        assert answer.instances.max() <= 1
    if answer.attention is not None:
        assert answer.attention.shape == (len(rows),)
        assert answer.attention.sum().item() == pytest.approx(1)


@every_method
def test_the_order_of_the_patches_does_not_matter_to_the_bag(name):
    predictor = make(name).eval().predictor()
    rows = torch.from_numpy(bags()[0].features)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        one, other = predictor(rows), predictor(rows[order])
    same = torch.allclose(one.probability, other.probability, atol=1e-5)
    assert same != (name in ORDERED)
    for values, moved in ((one.instances, other.instances), (one.attention, other.attention)):
        if values is not None:
            torch.testing.assert_close(values[order], moved)


@every_method
@every_count
def test_the_predictor_s_weights_answer_alike_in_a_fresh_one(name, classes, tmp_path):
    """Through a file, as a checkpoint keeps them."""
    one = make(name, classes=classes).eval().predictor()
    other = make(name, classes=classes, seed=77).eval().predictor()
    save_file(one.state_dict(), tmp_path / "weights.safetensors")
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    rows = torch.from_numpy(bags()[0].features)
    with torch.inference_mode():
        assert torch.equal(one(rows).probability, other(rows).probability)


@every_method
def test_the_given_bag_is_left_as_it_was(name):
    batch = BagStream(bags(), SEED).batch(0)
    kept = batch.features.clone()
    method = make(name)
    sum(method({"bags": batch}, Progress(1, 10), torch.Generator()).values()).backward()
    assert torch.equal(batch.features, kept)
