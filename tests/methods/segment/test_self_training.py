"""Self-training in rounds (sheet of tri-training, sections 3 to 5)."""

import copy

import pytest
import torch
from torch import Tensor, nn

from medssl.methods.method import Progress
from medssl.methods.segment.losses import region_loss
from medssl.methods.segment.self_training import sure_labels
from medssl.settings import OptimiserSettings, TrainSettings
from medssl.train.update import make_update

LAST = {"step": 490, "steps": 500}


def weights(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


@pytest.mark.parametrize(
    ("step", "expected"),
    [(1, (0, 1, 34)), (34, (0, 34, 34)), (35, (1, 1, 34)), (100, (2, 32, 32))],
)
def test_steps_are_shared_out_to_rounds(step, expected):
    """100 steps in three rounds: 34, 34 and 32."""
    number, within = Progress(step, 100).within(3)
    assert (number, within.step, within.steps) == expected
    assert Progress(step, 100).within(1) == (0, Progress(step, 100))


def test_each_round_has_a_schedule_of_its_own_and_the_optimiser_forgets(build, batches):
    method = build("self_training", rounds=1).float()
    given = batches()
    for batch in given.values():
        batch.image = batch.image.float()
    settings = TrainSettings(steps=8, optimiser=OptimiserSettings(learning_rate=0.1))
    update = make_update(method, settings, 0, torch.device("cpu"))
    rates, velocities = [], []
    for step in range(1, 9):
        rates.append(update(given, Progress(step, 8))["learning_rate"])
        first = next(iter(method.members.parameters()))
        velocities.append(update.optimiser.state[first]["momentum_buffer"].clone())
    assert rates[:4] == rates[4:]
    assert rates[0] > rates[3]
    # In a round's first step the velocity is the gradient itself.
    for step in (0, 4):
        assert not torch.equal(velocities[step], velocities[step + 1])
    fresh = build("self_training", rounds=1).float()
    fresh.load_state_dict(method.state_dict())
    assert method.rounds == 2


def test_a_round_begins_with_other_weights_and_the_last_ones_teach(build, batches, terms):
    for warm in (False, True):
        method = build("self_training", rounds=4, warm=warm)
        start = weights(method.members[0])
        with torch.no_grad():
            for parameter in method.members.parameters():
                parameter.add_(1.0)
        trained = weights(method.members[0])
        terms(method, batches(), step=100, steps=500)
        assert torch.equal(weights(method.members[0]), trained)
        terms(method, batches(), step=101, steps=500)
        assert torch.equal(weights(method.teachers[0]), trained)
        begun = weights(method.members[0])
        assert torch.equal(begun, trained) == warm
        assert not torch.equal(begun, start)


def test_thresholds_are_those_of_the_label():
    """Foreground from 0.9 on, background from 0.95 on."""
    p = torch.tensor([0.96, 0.94, 0.09, 0.11]).reshape(1, 1, 4, 1, 1)
    label, sure = sure_labels(torch.cat([p, 1 - p], 1), 0.9, 0.95)
    assert label.flatten().tolist() == [0, 0, 1, 1]
    assert sure.flatten().tolist() == [True, False, True, False]


def test_the_first_round_learns_from_labels_alone(build, batches, terms):
    found = terms(build("self_training"), {"labelled": batches()["labelled"]}, step=1, steps=500)
    assert found.keys() == {"supervised"}


def test_terms_by_hand(build, batches, terms):
    settings = {"threshold_foreground": 0.0, "threshold_background": 0.0, "weight": 2.0}
    method, given = build("self_training", **settings), batches()
    with torch.no_grad():
        for parameter in method.teachers.parameters():
            parameter.mul_(-1)
    found = terms(method, given, **LAST)
    image = given["unlabelled"].image[:, 0]
    label = method.teachers[0].eval()(image).argmax(1)
    logits = method.members[0](image)
    expected = 2 * region_loss(logits, label, torch.ones_like(label))
    torch.testing.assert_close(found["pseudo"], expected)


def test_the_weight_rises_over_a_fifth_of_each_round(build, batches, terms):
    settings = {"threshold_foreground": 0.0, "threshold_background": 0.0}
    method = build("self_training", **settings)
    found = [terms(method, batches(), step=400 + n, steps=500)["pseudo"] for n in (10, 20, 60)]
    assert (found[0] / found[1]).item() == pytest.approx(0.5)
    assert (found[1] / found[2]).item() == pytest.approx(1.0)


def test_nothing_sure_is_supervised_training(build, batches, terms):
    """Check 7."""
    method = build("self_training", threshold_foreground=1.1, threshold_background=1.1)
    found = terms(method, batches(), **LAST)
    assert found["pseudo"].item() == 0
    method.zero_grad()
    sum(found.values()).backward()
    total = [p.grad.clone() for p in method.members.parameters()]
    method.zero_grad()
    terms(method, batches(), **LAST)["supervised"].backward()
    for one, p in zip(total, method.members.parameters(), strict=True):
        assert torch.equal(one, p.grad)


def test_teachers_have_no_dropout_and_no_gradient(build, batches, terms):
    method = build("self_training", dropout=0.5, norm="batch", threshold_foreground=0.0)
    before = copy.deepcopy(method.teachers.state_dict())
    sum(terms(method, batches(), **LAST).values()).backward()
    after = method.teachers.state_dict()
    assert all(torch.equal(one, after[key]) for key, one in before.items())
    assert all(p.grad is None for p in method.teachers.parameters())
    first, second = (method.said(batches()["unlabelled"].image[:, 0])[0] for _ in range(2))
    assert torch.equal(first, second)
