"""What every method that pre-trains on scans promises (`medssl.methods.method.PretrainMethod`)."""

from math import isfinite

import numpy as np
import pytest
import torch

from medssl.methods.encoder_method import PretrainMethod, PretrainTask
from medssl.methods.method import Progress
from medssl.methods.registry import implementation, method_names, settings_class
from medssl.networks.build import build_encoder
from medssl.networks.settings import NetworkSettings
from medssl.networks.unet_settings import UNetSettings
from medssl.train.update import make_update
from tests.contract.killing import (
    check_that_a_kill_changes_nothing,
    check_that_the_seed_decides,
    constant,
    equal,
    trained,
)
from tests.methods.pretrain.scans import CONTRASTS, NETWORK, PATCH, pair_batch, scan_batch

METHODS = [
    name
    for name in method_names()
    if settings_class(name).family == "pretrain"
    and issubclass(implementation(settings_class(name)()), PretrainMethod)
]
"""Others of the family learn from tiles of slides, or from images and volumes together."""
PRESETS = [(name, preset) for name in METHODS for preset in settings_class(name).presets]
SMALLER = {
    "masked_image_modelling": {"masking": {"cell": 4}},
    "modality_invariant": {"masking": {"cell": 4}, "projector": {"hidden": 16, "outputs": 16}},
    "alice": {
        "masking": {"side": 4},
        "head": {"hidden": 16, "bottleneck": 16, "outputs": 16},
        "between": {"queue": 0},  # one that still fills makes the loss grow
    },
    "gmml": {"corruption": {"align": 2}},
    "whitening": {"hidden": 32, "outputs": 8, "tokens": 64},
    "all4one": {
        "hidden": 32,
        "outputs": 16,
        "predictor": 32,
        "queue": 8,
        "centroid": {"hidden": 32, "dropout": 0},
    },
    "anatomical_embedding": {
        "views": {"size": (16, 16, 8)},
        "fine": {"temperature": 0.1},
        "coarse": {"temperature": 0.1, "exclusion": 8},
    },
}
"""Sizes that the toy of 16 voxels asks for; all else is the default."""

OF_PLACES = {"anatomical_embedding"}
"""Methods whose network gives places vectors and is no segmentation network's encoder."""
MINED = {"alice"}
"""Methods whose pairs are of two patients, and not drawn as `pairs()` says."""

STRIDES = [[1, 1, 1], [2, 2, 2], [2, 2, 1]]
ENCODERS = [
    *(NetworkSettings(name=one, width=4, levels=3) for one in ("vnet", "unet3d", "conv_fpn")),
    *(
        UNetSettings(name=one, features=(4, 8, 16), strides=STRIDES)
        for one in ("plain_unet", "residual_unet")
    ),
]

every_method = pytest.mark.parametrize("name", METHODS)


def make(name, *, preset=None, seed=5, network=NETWORK, **more):
    kind = settings_class(name)
    chosen = {} if preset is None else kind.presets[preset]
    settings = kind(**{**chosen, **SMALLER.get(name, {}), **more})
    method = implementation(settings)(settings, PretrainTask(network, PATCH, CONTRASTS, 6), seed)
    assert isinstance(method, PretrainMethod)
    return method


class Toys:
    """A stream of pairs or of single scans of six patients; batch n is a function of n."""

    def __init__(self, kind):
        self._make = pair_batch if kind == "pairs" else scan_batch

    def batch(self, number):
        return self._make(tuple((number + k) % 6 + 1 for k in range(3)))


def first_batches(method):
    return {kind: Toys(kind).batch(0) for kind in method.streams}


def train(method, state_file, kill_after=0):
    """4 steps of the real loop; all weights after."""
    streams = {kind: Toys(kind) for kind in method.streams}
    return trained(method, streams, constant(4), state_file, kill_after, seed=0)


@every_method
def test_every_trained_parameter_gets_a_finite_gradient(name):
    method = make(name).train()
    terms = method(first_batches(method), Progress(50, 100), torch.Generator().manual_seed(0))
    assert all(value.ndim == 0 and bool(value.isfinite()) for value in terms.values())
    sum(terms.values()).backward()
    trained = {key: p for key, p in method.named_parameters() if p.requires_grad}
    for key, parameter in trained.items():
        assert parameter.grad is not None, key
        assert bool(parameter.grad.isfinite().all()), key
        assert bool(parameter.grad.any()), key
    owned = {id(p) for network in method.networks() for p in network.parameters()}
    assert {id(p) for p in trained.values()} <= owned, "clipping would pass over a parameter"
    assert {id(p) for _, group in method.rate_factors() for p in group} == {
        id(p) for p in trained.values()
    }


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_every_preset_trains(name, preset):
    method = make(name, preset=preset)
    update = make_update(method, constant(2), 0, torch.device("cpu"))
    for step in (1, 2):
        assert isfinite(update(first_batches(method), Progress(step, 2))["loss"])


@every_method
@pytest.mark.parametrize("network", ENCODERS, ids=lambda one: one.name)
def test_every_encoder_can_be_pre_trained(name, network):
    method = make(name, network=network)
    update = make_update(method, constant(1), 0, torch.device("cpu"))
    assert isfinite(update(first_batches(method), Progress(1, 1))["loss"])


@every_method
def test_twenty_steps_lower_the_loss(name):
    """At constant weights of the terms, measured on the same draws before and after."""
    method, steps = make(name), 20
    given = first_batches(method)

    def measure():
        state = {key: value.clone() for key, value in method.state_dict().items()}
        with torch.no_grad():
            terms = [
                sum(method(given, Progress(99, 100), torch.Generator().manual_seed(n)).values())
                for n in range(3)
            ]
        method.load_state_dict(state)
        return float(np.mean(terms))

    update = make_update(method, constant(steps), 0, torch.device("cpu"))
    before = measure()
    for step in range(1, steps + 1):
        update(given, Progress(step, steps))
    assert measure() < 0.8 * before


@every_method
def test_equal_seeds_give_equal_weights_and_others_do_not(name, tmp_path):
    check_that_the_seed_decides(lambda seed, state: train(make(name, seed=seed), state), tmp_path)


@pytest.mark.parametrize(("name", "preset"), [*((n, None) for n in METHODS), *PRESETS])
def test_a_killed_training_ends_with_the_bits_of_an_unbroken_one(name, preset, tmp_path):
    check_that_a_kill_changes_nothing(
        lambda seed, state, last: train(make(name, preset=preset, seed=seed), state, last),
        tmp_path,
        3,
    )


@every_method
def test_building_leaves_the_global_generator_alone(name):
    before = torch.random.get_rng_state()
    make(name)
    assert torch.equal(torch.random.get_rng_state(), before)


@every_method
def test_the_given_batches_are_left_as_they_were(name):
    method = make(name)
    given = first_batches(method)
    method(given, Progress(1, 10), torch.Generator())
    for kind, batch in first_batches(method).items():
        assert torch.equal(batch.source, given[kind].source)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in OF_PLACES])
def test_the_encoder_handed_on_fits_its_network(name, tmp_path):
    method = make(name)
    before = {key: value.clone() for key, value in method.encoder().state_dict().items()}
    assert equal(before, build_encoder(NETWORK, 1, 5000).state_dict())
    train(method, tmp_path / "state.pt")
    after = method.encoder().state_dict()
    assert not equal(before, after)
    build_encoder(NETWORK, 1, 0).load_state_dict(after)


@every_method
def test_probes_are_answered(name):
    method = make(name).eval()
    image = scan_batch((1, 2, 3)).windows()[:, 0]
    with torch.no_grad():
        found = {"": method.predictor()(image), **method.parts_of(image)}
        filled = method.reconstruct(image, torch.Generator())
    assert all(part.ndim == 2 and len(part) == 3 for part in found.values())
    assert all(part.dtype == torch.float32 and part.isfinite().all() for part in found.values())
    assert filled is None or (filled.prediction.shape == image.shape == filled.mask.shape)
    if name not in MINED | OF_PLACES:
        assert method.affine() is method.settings.affine
    assert (method.pairs() is None) == ("pairs" not in method.streams or name in MINED)
