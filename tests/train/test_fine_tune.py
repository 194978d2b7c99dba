"""Rates of a pre-trained encoder and of the rest, schedule by schedule, and what the loop does."""

from contextlib import suppress

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from medssl.networks.build import build_network
from medssl.networks.settings import NetworkSettings
from medssl.settings import OptimiserSettings, TrainSettings
from medssl.train.fine_tune import FineTune
from medssl.train.fine_tune_settings import FineTuneSettings
from medssl.train.optimiser import build_optimiser

FALLING = OptimiserSettings(learning_rate=1.0, schedule="polynomial", power=1.0)
STEPS = 20


def rates(encoder, chosen=FALLING, **keys):
    """The rate of every step of 20."""
    rule = FineTune(FineTuneSettings(**keys))
    return [rule.rate(chosen, step, STEPS, encoder) for step in range(1, STEPS + 1)]


def resting(**keys):
    rule = FineTune(FineTuneSettings(**keys))
    return [step for step in range(1, STEPS + 1) if rule.rests(step, STEPS)]


def falling(count):
    """1 - t / T for t = 1 ... T."""
    return [1 - (step + 1) / count for step in range(count)]


def test_default_is_the_schedule_of_the_optimiser():
    warm = FALLING.model_copy(update={"warmup_steps": 4})
    assert rates(True) == rates(False) == pytest.approx(falling(20))
    assert rates(True, warm) == pytest.approx([0.25, 0.5, 0.75, 1, *falling(16)])
    assert resting() == []


def test_warm_up_rises_first_and_then_has_the_whole_schedule():
    found = rates(True, schedule="warm_up", warm_up=0.2)
    assert found == pytest.approx([0.25, 0.5, 0.75, 1, *falling(16)])
    assert rates(False, schedule="warm_up", warm_up=0.2) == found
    assert resting(schedule="warm_up") == []


def test_frozen_then_whole_warms_the_encoder_up_when_it_wakes():
    """30 % of 20 steps are 6; each of the two has a rise of 2 and a schedule of its own."""
    keys = {"schedule": "frozen_then_whole", "warm_up": 0.1}
    assert rates(True, **keys) == pytest.approx([0] * 6 + [0.5, 1, *falling(12)])
    assert rates(False, **keys) == pytest.approx([0.5, 1, *falling(18)])
    assert resting(**keys) == [1, 2, 3, 4, 5, 6]


def test_sawtooth_rises_and_falls_twice():
    """The decoder alone for 8 steps, half of them a rise; then all, with a rise of 4."""
    keys = {"schedule": "sawtooth", "frozen": 0.4, "warm_up": 0.2}
    whole = [0.25, 0.5, 0.75, 1, *falling(8)]
    assert rates(True, **keys) == pytest.approx([0] * 8 + whole)
    assert rates(False, **keys) == pytest.approx([0.25, 0.5, 0.75, 1, *falling(4), *whole])
    assert resting(**keys) == list(range(1, 9))


def test_published_shares_are_the_defaults():
    assert resting(schedule="frozen_then_whole") == [1, 2, 3, 4, 5, 6]  # 30 %
    assert resting(schedule="sawtooth") == [1, 2]  # 15 of 150 epochs
    assert rates(True, schedule="warm_up")[:2] == [0.5, 1]
    assert rates(False, schedule="frozen_then_whole")[0] == 1  # 5 %: one step


def test_the_schedules_own_rise_takes_the_place_of_the_optimisers():
    warm = FALLING.model_copy(update={"warmup_steps": 5})
    keys = {"schedule": "sawtooth", "frozen": 0.4, "warm_up": 0.2}
    assert rates(False, warm, **keys) == rates(False, **keys)


def test_a_cosine_ends_each_phase_at_its_minimum():
    cosine = OptimiserSettings(learning_rate=1.0, schedule="cosine", minimum=0.1)
    found = rates(False, cosine, schedule="sawtooth", frozen=0.4)
    assert (found[7], found[-1]) == pytest.approx((0.1, 0.1))


def test_levels_learn_more_slowly_towards_the_stem():
    rule = FineTune(FineTuneSettings(encoder_rate=0.2, layer_decay=0.5))
    assert [rule.level_factor(level, 3) for level in range(3)] == pytest.approx([0.05, 0.1, 0.2])


def test_phases_must_leave_steps_for_the_whole():
    with pytest.raises(ValueError, match="leave no step"):
        FineTuneSettings(schedule="sawtooth", frozen=0.6, warm_up=0.4)


NETWORK = NetworkSettings(name="conv_fpn", width=2, levels=3, dropout=0, decoder_width=4)


class Killed(Exception):
    pass


@pytest.fixture
def fine_tuned(pair, training, tmp_path):
    """`fine_tuned(kill_after=3, schedule=...)`: 6 steps of two networks; the method after them."""

    class Segmenting(pair):
        def __init__(self, network):
            nn.Module.__init__(self)
            self.pair = nn.ModuleList(build_network(network, 1, 2, seed) for seed in (0, 1))
            self.updated, self.resting = [], []

        def forward(self, batches, progress, generator, part=0):
            batch, network = batches["labelled"], self.pair[part]
            self.resting.append(
                not network.encoder.get_parameter("blocks.0.0.weight").requires_grad
            )
            loss = cross_entropy(network(batch.image[:, 0]), batch.truth.long())
            return {f"error_{part + 1}": loss}

    def run(kill_after=0, network=NETWORK, state="state.pt", optimiser=None, **keys):
        def kill(step):
            if step == kill_after:
                raise Killed

        one = training(
            method=Segmenting(network),
            on_step=kill,
            fine_tune=FineTune(FineTuneSettings(**keys)) if keys else None,
        )
        one.state_file = tmp_path / state
        with suppress(Killed):
            one.run(
                checkpoint_every=1, optimiser=optimiser or {"name": "adamw", "learning_rate": 0.01}
            )
        return one.method, one

    return run


def start():
    return [build_network(NETWORK, 1, 2, seed).state_dict() for seed in (0, 1)]


def moved(method):
    """Names of the parameters that changed, over both networks."""
    return {
        name
        for network, before in zip(method.pair, start(), strict=True)
        for name, value in network.named_parameters()
        if not torch.equal(value, before[name])
    }


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
def test_a_resting_encoder_keeps_its_weights_whatever_decays(fine_tuned, optimiser):
    how = {"name": optimiser, "learning_rate": 0.1, "weight_decay": 0.5}
    method, one = fine_tuned(
        kill_after=4, optimiser=how, schedule="frozen_then_whole", frozen=0.7, encoder_decay=1.0
    )
    assert all(method.resting)
    assert moved(method)
    assert not any(name.startswith("encoder") for name in moved(method))
    assert [values["encoder_learning_rate"] for values in one.steps.values()] == [0] * 4


def test_it_learns_when_it_wakes(fine_tuned):
    method, one = fine_tuned(schedule="frozen_then_whole", frozen=0.5, warm_up=0.17)
    assert method.resting == [True] * 6 + [False] * 6  # two networks a step
    assert any(name.startswith("encoder") for name in moved(method))
    assert one.steps[4]["encoder_learning_rate"] == 0.01
    assert one.steps[4]["learning_rate"] < 0.01


@pytest.mark.parametrize("schedule", ["frozen_then_whole", "warm_up", "sawtooth"])
@pytest.mark.parametrize("kill_after", [2, 4])
def test_a_killed_fine_tuning_ends_with_the_bits_of_an_unbroken_one(
    fine_tuned, schedule, kill_after
):
    keys = {"schedule": schedule, "warm_up": 0.17, "frozen": 0.5, "layer_decay": 0.5}
    unbroken, _ = fine_tuned(state="unbroken.pt", **keys)
    fine_tuned(kill_after=kill_after, state="broken.pt", **keys)
    continued, _ = fine_tuned(state="broken.pt", **keys)
    one, other = unbroken.state_dict(), continued.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_batch_norms_of_a_resting_encoder_follow_the_images(fine_tuned):
    network = NetworkSettings(name="vnet", width=2, levels=2, norm="batch", dropout=0)
    method, _ = fine_tuned(network=network, schedule="frozen_then_whole", frozen=0.9)
    assert bool(method.pair[0].encoder.blocks[0][1].running_mean.any())


def test_groups_are_by_level_with_their_own_rate_and_decay(fine_tuned):
    method, _ = fine_tuned(kill_after=1)
    rule = FineTune(FineTuneSettings(encoder_rate=0.1, layer_decay=0.5, encoder_decay=0.2))
    chosen = TrainSettings(optimiser={"decay_vectors": False})
    groups = build_optimiser(method, chosen, rule).param_groups
    found = [(group["encoder"], group["factor"], group["decays"]) for group in groups]
    assert found == [
        (True, 0.025, 0.2),
        (True, 0.025, 0.0),
        (True, 0.05, 0.2),
        (True, 0.05, 0.0),
        (True, 0.1, 0.2),
        (True, 0.1, 0.0),
        (False, 1.0, 1.0),
        (False, 1.0, 0.0),
    ]
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in method.parameters())


def test_the_encoders_rate_is_a_share_of_the_rest(fine_tuned):
    """Plain descent: the first step is the rate times the gradient."""
    how = {"name": "sgd", "learning_rate": 1.0, "momentum": 0.0, "weight_decay": 0.0}
    steps = {}
    for share in (1.0, 0.1):
        method, _ = fine_tuned(
            kill_after=1, state=f"{share}.pt", optimiser=how, schedule="default", encoder_rate=share
        )
        before = start()[0]
        steps[share] = {k: v - before[k] for k, v in method.pair[0].named_parameters()}
    for name, step in steps[0.1].items():
        whole = 0.1 if name.startswith("encoder") else 1.0
        torch.testing.assert_close(step, whole * steps[1.0][name], rtol=1e-3, atol=1e-6)


def test_without_fine_tuning_nothing_is_different(pair):
    (group,) = build_optimiser(pair(), TrainSettings()).param_groups
    assert (group["factor"], group["decays"], group["encoder"]) == (1.0, 1.0, False)
