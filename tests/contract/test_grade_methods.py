"""What every grading method promises, whoever wrote it (`medssl.methods.method.GradeMethod`)."""

from dataclasses import replace
from math import isfinite

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy

from medssl.data.radiograph.augment import evaluation_view
from medssl.data.radiograph.batch import RadiographBatch
from medssl.methods.method import GradeTask, Progress
from medssl.methods.registry import implementation, settings_class
from medssl.networks.grader_settings import GraderSettings
from medssl.train.update import make_update
from medssl.transforms.radiograph_chain import RadiographAugment
from tests.contract import killing
from tests.contract.killing import (
    check_that_seed_and_state_decide,
    trained,
)
from tests.contract.training import training

METHODS = training("grade")
PRESETS = [(name, preset) for name in METHODS for preset in settings_class(name).presets]
SIDE, SEED = 24, 5
PUBLISHED = RadiographAugment.of("semixup")
SLOWER = {"mixmatch": 120}
"""Steps of methods whose guesses draw all answers together at first."""
GENTLE = RadiographAugment.of(
    {"semixup": {"noise_chance": 0, "rotation": 2, "pad": 1, "gamma_chance": 0}}
)

every_method = pytest.mark.parametrize("name", METHODS)
every_head = pytest.mark.parametrize("head", ["softmax", "cumulative"])


def make(
    name,
    *,
    preset=None,
    grades=3,
    views=2,
    head="softmax",
    dropout=0.35,
    width=2,
    augment=PUBLISHED,
    seed=SEED,
    network=None,
):
    kind = settings_class(name)
    settings = kind() if preset is None else kind.preset(preset)
    network = network or GraderSettings(width=width, init="he", head=head, dropout=dropout)
    names = tuple(f"KL{n}" for n in range(grades))
    crops = ("lateral", "medial")[:views]
    task = GradeTask(crops, names, SIDE, network, augment)
    return implementation(settings)(settings, task, seed)


def knee(rng, grade, views):
    """Two bars with a gap between; the higher the grade, the narrower the gap."""
    image = rng.integers(0, 40, (views, SIDE, SIDE))
    image[:, : 10 - grade] += 180
    image[:, 14 + grade :] += 180
    return image.astype(np.uint8)


class Knees:
    """A stream of random knees; a function of the batch number."""

    def __init__(self, kind, *, grades=3, views=2, size=6):
        self.labelled, self.grades, self.views, self.size = kind == "labelled", grades, views, size

    def batch(self, number):
        rng = np.random.default_rng([number, self.labelled])
        truth = np.arange(self.size) % self.grades
        image = np.stack([knee(rng, grade, self.views) for grade in truth])
        grade = torch.from_numpy(truth) if self.labelled else None
        ids = tuple(f"knee{n}" for n in range(self.size))
        return RadiographBatch(torch.from_numpy(image), grade, ids)


def batches(method, number=0, **more):
    return {kind: Knees(kind, **more).batch(number) for kind in method.streams}


def constant(steps, rate=3e-3):
    return killing.constant(steps, rate, "adam", weight_decay=0)


def loss_terms(method, given, seed=0, step=5):
    torch.manual_seed(seed)
    return method(given, Progress(step, 10), torch.Generator().manual_seed(seed))


def train(method, state_file, kill_after=0):
    """6 steps of the real loop; all weights after."""
    streams = {kind: Knees(kind) for kind in method.streams}
    return trained(method, streams, constant(6), state_file, kill_after, SEED)


def test_the_grading_methods_are_registered():
    assert set(METHODS) >= {
        "supervised_grading", "supervised_mixup", "pi_model", "ict", "mixmatch", "mutexmatch",
        "semixup",
    }  # fmt: skip


@every_method
@every_head
def test_every_parameter_gets_a_finite_gradient(name, head):
    method = make(name, head=head).train()
    for number in range(3):
        found = loss_terms(method, batches(method, number), seed=number)
        assert all(value.ndim == 0 and bool(value.isfinite()) for value in found.values())
        sum(found.values()).backward()
    trained = {key: p for key, p in method.named_parameters() if p.requires_grad}
    for key, parameter in trained.items():
        assert parameter.grad is not None, key
        assert bool(parameter.grad.isfinite().all()), key
        assert bool(parameter.grad.any()), key
    ids = sorted(map(id, trained.values()))
    assert sorted(id(p) for _, group in method.rate_factors() for p in group) == ids
    owned = [p for network in method.networks() for p in network.parameters() if p.requires_grad]
    assert sorted(map(id, owned)) == ids


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_every_preset_trains(name, preset):
    method = make(name, preset=preset)
    update = make_update(method, constant(2), 0, torch.device("cpu"))
    for step in (1, 2):
        assert isfinite(update(batches(method, step), Progress(step, 2))["loss"])


@every_method
def test_training_teaches_the_labelled_images(name):
    """What the trained network makes of them, in evaluation mode; fewer random changes."""
    method, steps = make(name, dropout=0.0, width=4, augment=GENTLE), SLOWER.get(name, 40)
    network = next(iter(method.networks()))
    given = batches(method)
    image, truth = evaluation_view(given["labelled"].image), given["labelled"].truth
    update = make_update(method, constant(steps), 0, torch.device("cpu"))

    def loss():
        with torch.no_grad():
            return cross_entropy(network(image), truth).item()

    before = loss()
    for step in range(1, steps + 1):
        update(given, Progress(step, steps))
    assert loss() < 0.85 * before


@every_method
def test_a_killed_training_ends_with_the_bits_of_an_unbroken_one_of_its_seed_alone(name, tmp_path):
    check_that_seed_and_state_decide(
        lambda seed, state, last: train(make(name, seed=seed), state, last), tmp_path, 5
    )


@every_method
def test_all_randomness_comes_from_what_is_handed_in(name):
    method = make(name).train()
    values = [
        {key: value.item() for key, value in loss_terms(method, batches(method), seed).items()}
        for seed in (0, 0, 1)
    ]
    assert values[0] == values[1]
    assert values[0] != values[2]


@every_method
def test_it_builds_from_its_defaults_and_leaves_the_global_generator_alone(name):
    before = torch.random.get_rng_state()
    settings = settings_class(name)()
    network = GraderSettings(width=2)
    task = GradeTask(("whole",), ("KL0", "KL1"), SIDE, network, RadiographAugment.of("semixup"))
    implementation(settings)(settings, task, SEED)
    assert torch.equal(torch.random.get_rng_state(), before)


@every_method
@every_head
@pytest.mark.parametrize(("grades", "views"), [(2, 1), (5, 2)])
def test_the_predictor_maps_images_to_logits_each_by_itself(name, head, grades, views):
    method = make(name, head=head, grades=grades, views=views)
    predictor = method.eval().predictor().eval()
    image = evaluation_view(Knees("labelled", grades=grades, views=views).batch(0).image)
    with torch.inference_mode():
        logits, alone = predictor(image), predictor(image[2:3])
    assert logits.shape == (6, grades)
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(logits[2:3], alone)


@every_method
def test_the_predictor_s_weights_answer_alike_in_a_fresh_one(name, tmp_path):
    """Through a file, as a checkpoint keeps them; before the first step, it is the network."""
    one, other = (make(name, seed=seed).eval().predictor().eval() for seed in (SEED, 77))
    save_file(one.state_dict(), tmp_path / "weights.safetensors")
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    image = evaluation_view(Knees("labelled").batch(0).image)
    with torch.inference_mode():
        assert torch.equal(one(image), other(image))


@every_method
def test_labels_of_unlabelled_images_change_nothing(name):
    method = make(name).train()
    given = batches(method)
    if "unlabelled" not in given:
        assert method.streams == ("labelled",)
        return
    plain = loss_terms(method, given)
    leaky = given | {"unlabelled": replace(given["unlabelled"], grade=torch.full((6,), -1))}
    assert all(torch.equal(value, plain[key]) for key, value in loss_terms(method, leaky).items())


@every_method
def test_labelled_images_may_feed_both_streams(name):
    method = make(name).train()
    labelled = Knees("labelled").batch(0)
    found = loss_terms(method, dict.fromkeys(method.streams, labelled))
    assert all(bool(value.isfinite()) for value in found.values())


@every_method
def test_streams_may_have_batches_of_different_size(name):
    method = make(name).train()
    given = {kind: Knees(kind, size=4 if kind == "labelled" else 7).batch(0)
             for kind in method.streams}  # fmt: skip
    assert all(bool(value.isfinite()) for value in loss_terms(method, given).values())


@every_method
def test_the_monitor_tells_of_unlabelled_answers_where_there_are_any(name):
    method = make(name).train()
    assert method.monitor() == {}
    loss_terms(method, batches(method))
    found = method.monitor()
    assert ("unlabelled_entropy" in found) == ("unlabelled" in method.streams)
    assert all(isfinite(value) for value in found.values())


@every_method
def test_the_given_images_are_left_as_they_were(name):
    method = make(name).train()
    given = batches(method)
    sum(loss_terms(method, given).values()).backward()
    for kind, batch in batches(method).items():
        assert torch.equal(batch.image, given[kind].image)
