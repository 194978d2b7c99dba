import pytest

from medssl.settings import OptimiserSettings
from medssl.train.schedule import last_rate_step, learning_rate, weight_decay


@pytest.mark.parametrize(
    ("step", "rate"), [(1, 0.049994999972), (4500, 0.026794336563), (9000, 0.0)]
)
def test_polynomial_as_published(step, rate):
    """Sheet of TraCoCo, section 13.1: 0.05 over 9000 steps, power 0.9."""
    settings = OptimiserSettings(learning_rate=0.05, schedule="polynomial", power=0.9)
    assert learning_rate(settings, step, 9000) == pytest.approx(rate, abs=1e-12)


@pytest.mark.parametrize(("step", "rate"), [(1, 0.9755282581), (5, 0.5), (10, 0.0)])
def test_cosine(step, rate):
    settings = OptimiserSettings(learning_rate=1.0, schedule="cosine")
    assert learning_rate(settings, step, 10) == pytest.approx(rate, abs=1e-9)


def test_warm_up_is_linear_and_the_schedule_runs_over_what_is_left():
    settings = OptimiserSettings(
        learning_rate=1.0, schedule="polynomial", power=1.0, warmup_steps=4
    )
    rates = [learning_rate(settings, step, 8) for step in range(1, 9)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1.0, 0.75, 0.5, 0.25, 0.0])


def test_constant():
    settings = OptimiserSettings(learning_rate=0.3, schedule="constant")
    assert {learning_rate(settings, step, 5) for step in range(1, 6)} == {0.3}


def test_training_shorter_than_its_warm_up():
    settings = OptimiserSettings(learning_rate=1.0, warmup_steps=10)
    assert learning_rate(settings, 5, 5) == 0.5


def test_cosine_ends_at_its_minimum():
    settings = OptimiserSettings(learning_rate=1.0, schedule="cosine", minimum=0.2)
    assert [learning_rate(settings, step, 10) for step in (5, 10)] == pytest.approx([0.6, 0.2])


def test_a_rate_held_for_an_epoch_is_that_of_torchs_scheduler_stepped_after_each():
    import torch

    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([weight], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=4, eta_min=0.1)
    settings = OptimiserSettings(learning_rate=1.0, schedule="cosine", minimum=0.1)
    for epoch in range(4):
        for step in (3 * epoch + 1, 3 * epoch + 2, 3 * epoch + 3):
            assert learning_rate(settings, last_rate_step(step, 3), 12) == pytest.approx(
                optimiser.param_groups[0]["lr"]
            )
        optimiser.step()
        theirs.step()


def test_weight_decay_is_constant_unless_an_end_is_set():
    settings = OptimiserSettings(weight_decay=0.05)
    assert {weight_decay(settings, step, 7) for step in range(1, 8)} == {0.05}


@pytest.mark.parametrize(("step", "decay"), [(1, 0.04), (51, 0.22), (100, 0.3999111809)])
def test_weight_decay_climbs_along_dinos_cosine(step, decay):
    """From 0.04 to 0.4 over 100 steps: half way at step 51, as the first has the start."""
    settings = OptimiserSettings(weight_decay=0.04, weight_decay_end=0.4)
    assert weight_decay(settings, step, 100) == pytest.approx(decay, abs=1e-9)
