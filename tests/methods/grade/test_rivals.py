"""The textbook forms of the Pi-model, ICT and MixMatch, and the supervised baselines."""

from math import exp

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss, one_hot

from medssl.data.radiograph.augment import random_view
from medssl.methods.grade.mixmatch import mix_each, sharpen
from medssl.methods.grade.mixup import draw_mixture, draw_weights, mixup_cross_entropy
from medssl.methods.method import Progress
from medssl.methods.ramps import gaussian_ramp


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def flat(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def moved(network: nn.Module) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.3).add_(0.05)


def test_supervised_grading_is_cross_entropy_on_a_view(build, batches, terms):
    method, given = build("supervised_grading"), batches()["labelled"]
    view = random_view(given.image, method.augment, generator())
    expected = cross_entropy(method.network(view), given.truth)
    torch.testing.assert_close(terms(method, {"labelled": given})["supervised"], expected)


def test_supervised_mixup_mixes_views_and_grades(build, batches, terms):
    method, given = build("supervised_mixup", alpha=1.0, floor=0.6), batches()["labelled"]
    g = generator()
    view = random_view(given.image, method.augment, g)
    mixture = draw_mixture(view, 1.0, g, 0.6)
    expected = mixup_cross_entropy(method.network(mixture.mix(view)), given.truth, mixture)
    torch.testing.assert_close(terms(method, {"labelled": given})["supervised"], expected)


def test_supervised_mixup_with_floor_1_is_supervised_grading(build, batches, terms):
    given = {"labelled": batches()["labelled"]}
    one = terms(build("supervised_mixup", floor=1.0), given)
    other = terms(build("supervised_grading"), given)
    torch.testing.assert_close(one["supervised"], other["supervised"])


def test_the_gaussian_ramp_by_hand():
    """A quarter of 100 steps."""
    found = [gaussian_ramp(Progress(step, 100), 0.25) for step in (5, 25, 100)]
    assert found == pytest.approx([exp(-5 * 0.8**2), 1, 1])
    assert gaussian_ramp(Progress(1, 100), 0.0) == 1


def test_the_pi_model_by_hand(build, batches, terms):
    method, given = build("pi_model", weight=3.0), batches()
    found = terms(method, given, step=10)
    g = generator()
    own, first, second = (
        method.network(random_view(given[name].image, method.augment, g))
        for name in ("labelled", "unlabelled", "unlabelled")
    )
    distance = mse_loss(first.softmax(1), second.softmax(1))
    weight = 3 * exp(-5 * 0.6**2)
    torch.testing.assert_close(found["consistency"], weight * distance, rtol=1e-4, atol=1e-10)
    torch.testing.assert_close(found["supervised"], cross_entropy(own, given["labelled"].truth))


def test_ict_by_hand(build, batches, terms):
    """The target is the mix of the teacher's probabilities; pool of unlabelled images alone."""
    method, given = build("ict", weight=3.0, alpha=0.5), batches()
    moved(method.teacher)
    found = terms(method, given)
    g = generator()
    own = random_view(given["labelled"].image, method.augment, g)
    view = random_view(given["unlabelled"].image, method.augment, g)
    mixture = draw_mixture(view, 0.5, g)
    target = mixture.mix(method.teacher(view).softmax(1))
    distance = mse_loss(method.network(mixture.mix(view)).softmax(1), target)
    torch.testing.assert_close(found["interpolation"], 3 * distance, rtol=1e-4, atol=1e-10)
    torch.testing.assert_close(
        found["supervised"], cross_entropy(method.network(own), given["labelled"].truth)
    )
    assert method.unlabelled_pool == "unlabelled"


def test_ict_s_teacher_follows_answers_calmly_and_gets_no_gradient(build, batches, terms):
    method = build("ict", dropout=0.5, decay=0.9)
    assert not method.teacher.training
    start = flat(method.teacher)
    sum(terms(method, batches()).values()).backward()
    assert all(p.grad is None for p in method.teacher.parameters())
    assert list(method.networks()) == [method.network]
    with torch.no_grad():
        for parameter in method.network.parameters():
            parameter.add_(1.0)
    method.after_step(Progress(1, 100))  # true average of two
    torch.testing.assert_close(flat(method.teacher), start + 0.5)
    method.after_step(Progress(50, 100))
    torch.testing.assert_close(flat(method.teacher), start + 1 - 0.5 * 0.9)


def test_ict_s_weight_is_not_folded():
    found = draw_weights(4000, 0.2, generator())
    assert (found < 0.5).mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("ict", {"teacher": "teacher", "student": "network"}),
        ("mixmatch", {"average": "average", "network": "network"}),
    ],
)
def test_either_may_answer(build, name, choices):
    for choice, attribute in choices.items():
        method = build(name, predictor=choice)
        assert method.predictor() is getattr(method, attribute)


def test_sharpening_by_hand():
    """T = 1/2 squares: (0.6, 0.3, 0.1) becomes (36, 9, 1) / 46."""
    found = sharpen(torch.tensor([[0.6, 0.3, 0.1]]), 0.5)
    torch.testing.assert_close(found, torch.tensor([[36.0, 9.0, 1.0]]) / 46)


def test_every_row_is_mixed_by_its_own_weight():
    rows = torch.eye(2)
    found = mix_each(rows, torch.tensor([1, 0]), torch.tensor([0.75, 0.5]))
    assert found.tolist() == [[0.75, 0.25], [0.5, 0.5]]


def test_mixmatch_by_hand(build, batches, terms):
    """Two views of four images, and three labelled ones: eleven rows, mixed with one another."""
    method, given = build("mixmatch", weight=3.0, rampup=1.0), batches()
    found = terms(method, given, step=50)
    g = generator()
    own = random_view(given["labelled"].image, method.augment, g)
    views = [random_view(given["unlabelled"].image, method.augment, g) for _ in range(2)]
    mean = sum(method.network(view).softmax(1) for view in views).detach() / 2
    guess = sharpen(mean, 0.5)
    image = torch.cat([own, *views])
    target = torch.cat([one_hot(given["labelled"].truth, 5).float(), guess, guess])
    weights = torch.from_numpy(draw_weights(11, 0.75, g, 0.5)).float()
    order = torch.randperm(11, generator=g)
    logits, mixed = (
        method.network(mix_each(image, order, weights)),
        mix_each(target, order, weights),
    )
    soft = -(mixed[:3] * logits[:3].log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(found["supervised"], soft)
    brier = ((logits[3:].softmax(1) - mixed[3:]) ** 2).sum() / (8 * 5)
    torch.testing.assert_close(found["unlabelled"], 3 * 0.5 * brier)
    assert weights.min() >= 0.5


def test_mixmatch_guesses_without_gradient(build, batches):
    method = build("mixmatch")
    view = random_view(batches()["unlabelled"].image, method.augment, generator())
    guess = method._guess([view, view])
    assert not guess.requires_grad
    expected = sharpen(method.network(view).softmax(1), 0.5)
    torch.testing.assert_close(guess, expected.detach())


def test_mixmatch_of_one_guess_has_half_the_rows(build, batches, terms):
    sizes = []
    for guesses in (1, 3):
        method = build("mixmatch", guesses=guesses)
        method.network.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
        terms(method, batches(3, 4))
    assert sizes == [4, 3 + 4, 12, 3 + 12]


def test_mixmatch_s_average_follows(build):
    method = build("mixmatch", decay=0.9)
    start = flat(method.average)
    with torch.no_grad():
        for parameter in method.network.parameters():
            parameter.add_(1.0)
    method.after_step(Progress(1, 100))
    torch.testing.assert_close(flat(method.average), start + 0.5)


def test_which_pool_each_method_draws_from(build):
    pools = {
        name: build(name).unlabelled_pool
        for name in ("semixup", "pi_model", "mutexmatch", "ict", "mixmatch")
    }
    assert pools == {
        "semixup": "all", "pi_model": "all", "mutexmatch": "all",
        "ict": "unlabelled", "mixmatch": "unlabelled",
    }  # fmt: skip
