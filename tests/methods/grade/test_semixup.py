"""Semixup against its sheet; `check_NN` is number NN of the sheet's section 16."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from medssl.data.radiograph.augment import evaluation_view, random_view, released_second_view
from medssl.methods.grade.mixup import Mixture, draw_mixture, draw_weights, mixup_cross_entropy
from medssl.methods.grade.semixup import distances
from medssl.methods.method import Progress
from medssl.methods.ramps import linear_ramp
from medssl.settings import LoopSettings, OptimiserSettings
from medssl.train.update import make_update

FIRST = (1, 0, -1, 0.5, 0)
PARTNER = (0, 2, 0, 0, -1)
SECOND = (0.5, 0.5, -1, 0, 0)
MIXED = (0.8, 0.4, -0.6, 0.3, -0.1)
NO_MIXING = {"floor_labelled": 1.0, "floor_unlabelled": 1.0}
NO_WEIGHTS = {"weights": {"in_manifold": 0, "in_out_manifold": 0, "interpolation": 0}}


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def example(**given: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """z1, z2, z', zm of the sheet's section 3."""
    plain = {"first": FIRST, "second": SECOND, "partner": PARTNER, "mixed": MIXED}
    found = {name: row(*values) for name, values in plain.items()} | given
    return found["first"], found["second"], found["partner"], found["mixed"]


def weighted(*logits: Tensor, weight: float = 0.75) -> Tensor:
    found = distances(*logits, weight)
    return 2 * found.in_manifold + 2 * found.in_out_manifold + 4 * found.interpolation


def gradient(method: nn.Module, loss: Tensor) -> Tensor:
    method.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None])


def test_check_01_the_worked_example():
    first, second, partner, mixed = example()
    found = distances(first, second, partner, mixed, 0.75)
    assert found.in_manifold.item() == pytest.approx(0.0077100488796, abs=1e-9)
    both = 0.0025453277072 + 0.0018253071562
    assert found.in_out_manifold.item() == pytest.approx(both, abs=1e-9)
    assert found.interpolation.item() == pytest.approx(0.0003315087834, abs=1e-9)
    assert weighted(first, second, partner, mixed).item() == pytest.approx(
        0.0254874024235, abs=1e-9
    )
    of_probabilities = mse_loss(
        mixed.softmax(1), 0.75 * first.softmax(1) + 0.25 * partner.softmax(1)
    )
    assert of_probabilities.item() == pytest.approx(0.0007877413633, abs=1e-9)
    assert abs(found.interpolation.item() - of_probabilities.item()) > 1e-4


def test_check_01_each_half_of_the_in_out_term():
    """With z2 = z1 or zm = z1 one half is left, or the in-manifold distance."""
    first, second, partner, mixed = example()
    found = distances(first, first, partner, mixed, 0.75).in_out_manifold.item()
    assert found == pytest.approx(2 * 0.0025453277072, abs=1e-9)
    found = distances(second, second, partner, mixed, 0.75).in_out_manifold.item()
    assert found == pytest.approx(2 * 0.0018253071562, abs=1e-9)


def test_check_01_the_supervised_term():
    logits = row(*MIXED).repeat(2, 1)
    found = mixup_cross_entropy(logits, torch.tensor([0, 1]), Mixture(0.75, torch.tensor([1, 0])))
    swapped = 0.75 * cross_entropy(row(*MIXED), torch.tensor([1])) + 0.25 * cross_entropy(
        row(*MIXED), torch.tensor([0])
    )
    assert 2 * found.item() - swapped.item() == pytest.approx(1.1750083374929, abs=1e-9)


def test_check_02_without_mixing_it_is_the_pi_model_of_weight_4(build, batches, terms):
    method, given = build("semixup", **NO_MIXING), batches()
    found = terms(method, given)
    assert found["interpolation"].item() == pytest.approx(0, abs=1e-9)
    assert found["in_manifold"].item() > 1e-6
    torch.testing.assert_close(found["in_out_manifold"], found["in_manifold"], rtol=1e-3, atol=0)
    labelled = random_view(
        given["labelled"].image, method.augment, torch.Generator().manual_seed(0)
    )
    plain = cross_entropy(method.network(labelled), given["labelled"].truth)
    torch.testing.assert_close(found["supervised"], plain)


def test_check_03_equal_views_without_mixing_teach_nothing(build, batches, terms):
    method = build("semixup", still=True, **NO_MIXING)
    found = terms(method, batches())
    supervised = found.pop("supervised")
    unlabelled = sum(found.values())
    assert unlabelled.item() == pytest.approx(0, abs=1e-12)
    assert gradient(method, unlabelled).abs().max().item() == pytest.approx(0, abs=1e-6)
    assert supervised.item() > 1


def test_check_04_an_image_mixed_with_itself(build, batches, terms):
    """One image can only be its own partner."""
    found = terms(build("semixup"), batches(unlabelled=1))
    assert found["in_manifold"].item() > 1e-6
    torch.testing.assert_close(found["in_out_manifold"], found["in_manifold"], rtol=1e-3, atol=0)
    assert found["interpolation"].item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("weight", [0.55, 0.8, 0.95])
def test_check_05_an_affine_network_interpolates_exactly(weight):
    g = torch.Generator().manual_seed(0)
    network = nn.Linear(12, 5).double()
    image = torch.randn(6, 12, generator=g, dtype=torch.float64)
    mixture = Mixture(weight, torch.tensor([3, 0, 5, 1, 2, 4]))
    first, mixed = network(image), network(mixture.mix(image))
    found = distances(first, first, first[mixture.order], mixed, weight)
    assert found.interpolation.item() < 1e-30
    assert mse_loss(mixed.softmax(1), mixture.mix(first.softmax(1))).item() > 1e-7


@pytest.mark.parametrize(("floor", "share", "mean"), [(0.55, 0.0835, 0.781), (0.7, 0.3386, 0.812)])
def test_check_06_the_weight_of_the_mix(floor, share, mean):
    found = draw_weights(10_000, 0.75, torch.Generator().manual_seed(0), floor)
    assert found.min() == floor
    assert found.max() <= 1
    assert (found == floor).mean() == pytest.approx(share, abs=0.015)
    assert found.mean() == pytest.approx(mean, abs=0.005)


def test_check_06_a_step_draws_one_weight_per_batch_anew():
    image, g = torch.rand(4, 2, 8, 8), torch.Generator().manual_seed(0)
    drawn = [draw_mixture(image, 0.75, g, 0.55) for _ in range(400)]
    weights = np.array([mixture.weight for mixture in drawn])
    assert weights.mean() == pytest.approx(0.781, abs=0.02)
    assert len(set(weights)) > 300
    assert all(sorted(mixture.order.tolist()) == [0, 1, 2, 3] for mixture in drawn)


@pytest.mark.parametrize("index", range(4), ids=["z1", "z2", "z'", "zm"])
def test_check_07_gradients_flow_through_both_sides_of_every_term(index):
    logits = list(example())
    moving = logits[index].clone().requires_grad_()

    def loss(one: Tensor) -> Tensor:
        return weighted(*logits[:index], one, *logits[index + 1 :])

    assert torch.autograd.gradcheck(loss, (moving,), eps=1e-6, atol=1e-9, rtol=1e-5)
    loss(moving).backward()
    assert moving.grad.abs().min() > 1e-6


def test_check_07_no_answer_of_a_step_is_detached(build, batches, terms):
    """The interpolation term alone reaches the network through z1, z' and zm."""
    only = {"weights": {"in_manifold": 0, "in_out_manifold": 0, "interpolation": 4}}
    method = build("semixup", reuse_partner=False, **only)
    answers, plain = {}, method.answers

    def kept(images):
        found = plain(images)
        for value in found.values():
            value.retain_grad()
        answers.update(found)
        return found

    method.answers = kept
    terms(method, batches())["interpolation"].backward()
    assert all(answers[name].grad.abs().max() > 0 for name in ("first", "partner", "mixed"))


def test_check_08_labels_of_unlabelled_images_change_nothing(build, batches, terms):
    method = build("semixup", dropout=0.35)
    found = []
    for grade in (None, torch.full((4,), -1), torch.tensor([3, 1, 4, 0])):
        given = batches()
        given["unlabelled"] = replace(given["unlabelled"], grade=grade)
        loss = sum(terms(method, given).values())
        found.append((loss.item(), gradient(method, loss)))
    assert all(value == found[0][0] for value, _ in found)
    assert all(torch.equal(own, found[0][1]) for _, own in found)
    moved = batches()
    moved["unlabelled"] = replace(moved["unlabelled"], image=255 - moved["unlabelled"].image)
    assert sum(terms(method, moved).values()).item() != found[0][0]


def test_check_09_without_weights_a_step_is_supervised_mixup(build, batches):
    adam = OptimiserSettings(name="adam", learning_rate=1e-3, schedule="constant", weight_decay=0)
    after = []
    for name, settings in (("semixup", NO_WEIGHTS), ("supervised_mixup", {})):
        method = build(name, dropout=0.35, **settings)
        update = make_update(method, LoopSettings(optimiser=adam), 3, torch.device("cpu"))
        update({key: batches()[key] for key in method.streams}, Progress(1, 10))
        after.append(method.state_dict())
    assert all(torch.equal(after[0][key], after[1][key]) for key in after[0])
    untouched = build("semixup", dropout=0.35).state_dict()
    assert not all(torch.equal(after[0][key], untouched[key]) for key in untouched)


def test_check_09_labelled_images_alone_feed_both_streams(build, batches, terms):
    given = batches()
    given["unlabelled"] = given["labelled"]
    found = terms(build("semixup", dropout=0.35), given)
    assert all(torch.isfinite(value) and value > 0 for value in found.values())


@pytest.mark.parametrize("name", ["supervised_grading", "supervised_mixup", "semixup"])
def test_check_14_ten_images_are_learnt_by_heart(build, batches, name):
    method, given = build(name, still=True, width=8), batches(10, 4)
    truth = torch.arange(10) % 5
    given["labelled"] = replace(given["labelled"], grade=truth)
    adam = OptimiserSettings(name="adam", learning_rate=1e-3, schedule="constant", weight_decay=0)
    update = make_update(method, LoopSettings(optimiser=adam), 0, torch.device("cpu"))
    given = {key: given[key] for key in method.streams}
    for step in range(1, 101):
        update(given, Progress(step, 100))
    with torch.no_grad():
        found = method.predictor().eval()(evaluation_view(given["labelled"].image)).argmax(1)
    assert torch.equal(found, truth)


def test_one_pass_for_all_views_is_exact(build, batches):
    method, given = build("semixup").double(), batches(3, 5)
    images = {name: evaluation_view(batch.image).double() for name, batch in given.items()}
    together = method.answers(images)
    for name, image in images.items():
        torch.testing.assert_close(together[name], method.network(image), rtol=0, atol=1e-12)


def test_terms_by_hand(build, batches, terms):
    """Views are the images; weights 2, 2 and 4; the partner's answer is z1[q]."""
    method, given = build("semixup", still=True), batches()
    found = terms(method, given)
    g = torch.Generator().manual_seed(0)
    drawn = []
    for name, floor in (("labelled", 0.7), ("unlabelled", 0.55)):
        image = evaluation_view(given[name].image)
        for _ in range(1 if name == "labelled" else 2):
            random_view(given[name].image, method.augment, g)
        drawn.append((image, draw_mixture(image, 0.75, g, floor)))
    (own, labelled), (image, mixture) = drawn
    first, mixed = method.network(image), method.network(mixture.mix(image))
    apart = distances(first, first, first[mixture.order], mixed, mixture.weight)
    close = {"rtol": 1e-4, "atol": 1e-9}
    torch.testing.assert_close(found["in_manifold"], 2 * apart.in_manifold, **close)
    torch.testing.assert_close(found["in_out_manifold"], 2 * apart.in_out_manifold, **close)
    torch.testing.assert_close(found["interpolation"], 4 * apart.interpolation, **close)
    supervised = mixup_cross_entropy(
        method.network(labelled.mix(own)), given["labelled"].truth, labelled
    )
    torch.testing.assert_close(found["supervised"], supervised)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_partner_s_own_pass_differs_in_its_dropout_alone(build, batches, terms, dropout):
    reused, apart = (
        terms(build("semixup", dropout=dropout, reuse_partner=reuse), batches())
        for reuse in (True, False)
    )
    same = torch.allclose(reused["interpolation"], apart["interpolation"], rtol=1e-4)
    assert same == (dropout == 0)


def test_an_own_pass_for_the_partner_is_a_fourth_more_images(build, batches, terms):
    sizes = []
    for reuse in (True, False):
        method = build("semixup", reuse_partner=reuse)
        method.network.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
        terms(method, batches(3, 4))
    assert sizes == [3 + 3 * 4, 3 + 4 * 4]


def test_the_released_second_view_is_made_of_the_first(build, batches, terms):
    method = build("semixup", second_view="released")
    seen = []
    method.network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    given = batches(3, 4)
    terms(method, given)
    g = torch.Generator().manual_seed(0)
    labelled = random_view(given["labelled"].image, method.augment, g)
    draw_mixture(labelled, 0.75, g, 0.7)
    first = random_view(given["unlabelled"].image, method.augment, g)
    second = released_second_view(first, method.augment, g)
    assert torch.equal(seen[0][3:7], first)
    assert torch.equal(seen[0][7:11], second)


@pytest.mark.parametrize("preset", ["in_manifold", "in_out_manifold", "interpolation"])
def test_an_ablation_takes_its_term_away_and_leaves_the_others(build, batches, terms, preset):
    whole = terms(build("semixup"), batches())
    cut = terms(build("semixup", weights={preset: 0.0}), batches())
    assert cut.pop(preset).item() == 0
    for name, value in cut.items():
        torch.testing.assert_close(value, whole[name])


def test_the_warm_start_looks_at_labelled_images_alone_and_then_the_weights_rise(
    build, batches, terms
):
    """A tenth of 100 steps alone, then 20 steps of linear rise."""
    method = build("semixup", warm_start=0.1, rampup=0.2)
    whole = terms(build("semixup"), batches())
    for step in (1, 10):
        assert set(terms(method, batches(), step=step)) == {"supervised"}
    for step, factor in ((15, 0.25), (30, 1.0), (100, 1.0)):
        found = terms(method, batches(), step=step)
        for name in ("in_manifold", "in_out_manifold", "interpolation"):
            torch.testing.assert_close(found[name], factor * whole[name], rtol=1e-5, atol=0)


def test_a_ramp_by_hand():
    found = [linear_ramp(Progress(step, 100), 0.5, 0.0) for step in (1, 25, 50, 100)]
    assert found == pytest.approx([0.02, 0.5, 1, 1])
    assert linear_ramp(Progress(1, 100), 0.0, 0.0) == 1
    assert linear_ramp(Progress(31, 100), 0.0, 0.3) == 1
    assert linear_ramp(Progress(30, 100), 0.0, 0.3) == 0


def test_a_collapsed_network_shows_in_the_monitor(build, batches, terms):
    method = build("semixup")
    assert method.monitor() == {}
    terms(method, batches())
    assert method.monitor()["unlabelled_information"] > 1e-5
    nn.init.zeros_(method.network.head.weight)
    terms(method, batches())
    found = method.monitor()
    assert found["unlabelled_entropy"] == pytest.approx(math.log(5), abs=1e-5)
    assert found["unlabelled_information"] == pytest.approx(0, abs=1e-6)
