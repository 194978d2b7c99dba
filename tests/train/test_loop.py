"""The loop's promises: the same bits after a stop or a kill, and what it says on the way."""

import os
import signal
from types import SimpleNamespace

import pytest
import torch

from medssl.errors import Stopped
from medssl.train import loop

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class Killed(Exception):
    pass


def after(step, act):
    """What to do at the end of a step."""

    def on_step(present):
        if present == step:
            act()

    return on_step


def kill():
    raise Killed


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("optimiser", [{"name": "sgd"}, {"name": "adamw", "learning_rate": 1e-2}])
def test_a_killed_training_continues_to_the_same_bits(training, optimiser, channels_last, tmp_path):
    how = {"optimiser": optimiser, "channels_last": channels_last, "checkpoint_every": 2}
    unbroken = training()
    unbroken.run(**how)
    unbroken.state_file.unlink()
    broken = training(on_step=after(5, kill))
    with pytest.raises(Killed):
        broken.run(**how)
    continued = training()
    state = continued.run(**how)
    assert continued.began == (6, 4)
    assert list(continued.steps) == [5, 6]
    assert state.step == 6
    assert torch.equal(continued.weights, unbroken.weights)
    for step in (5, 6):
        assert continued.steps[step]["loss"] == unbroken.steps[step]["loss"]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_saves_after_the_step_and_stops(training, number):
    before = [signal.getsignal(one) for one in SIGNALS]
    unbroken = training()
    unbroken.run()
    unbroken.state_file.unlink()
    asked = training(on_step=after(2, lambda: os.kill(os.getpid(), number)))
    with pytest.raises(Stopped, match="stopped after step 2 of 6") as caught:
        asked.run()
    assert caught.value.exit_code == 75
    assert asked.saved == [("last", 2)]
    assert asked.ended == 1
    assert [signal.getsignal(one) for one in SIGNALS] == before
    continued = training()
    continued.run()
    assert torch.equal(continued.weights, unbroken.weights)


def test_a_signal_in_the_last_step_still_ends_the_command(training):
    asked = training(on_step=after(6, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    with pytest.raises(Stopped):
        asked.run()
    again = training()
    assert again.run().step == 6
    assert again.steps == {}


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_workers_change_no_bit_also_where_training_goes_on(training, workers):
    unbroken = training()
    unbroken.run()
    unbroken.state_file.unlink()
    broken = training(on_step=after(3, kill))
    with pytest.raises(Killed):
        broken.run(workers=workers, checkpoint_every=1)
    continued = training()
    continued.run(workers=3 - workers)
    assert torch.equal(continued.weights, unbroken.weights)


def test_a_finished_training_is_not_continued(training):
    first = training()
    first.run()
    again = training()
    state = again.run()
    assert (state.step, again.steps, again.saved) == (6, {}, [])
    assert torch.equal(again.weights, first.weights)


def test_a_kill_between_checkpoint_and_state_loses_neither(training):
    """The state must not say that a step is done whose checkpoint was never written."""
    broken = training()
    broken._save = lambda *_: kill()
    with pytest.raises(Killed):
        broken.run()
    again = training()
    again.run()
    assert again.saved == [("last", 6)]


def test_steps_without_a_device_scaler_are_counted_and_timed(training):
    run = training()
    run.run(log_every=4)
    assert list(run.steps) == [1, 2, 3, 4, 5, 6]
    assert list(run.logged) == [4, 6]
    for values in run.steps.values():
        assert values["loss"] == values["loss/error_1"] + values["loss/error_2"]
        assert values["steps_per_s"] > 0
        assert 0 <= values["wait_share"] <= 1
    assert run.method.updated == [1, 2, 3, 4, 5, 6]


def test_the_mean_of_the_loss_since_the_last_line_survives_a_kill(training):
    unbroken = training()
    unbroken.run(log_every=4, checkpoint_every=1)
    losses = [values["loss"] for values in unbroken.steps.values()]
    assert unbroken.logged[4]["loss_mean"] == pytest.approx(sum(losses[:4]) / 4, abs=1e-12)
    assert unbroken.logged[6]["loss_mean"] == pytest.approx(sum(losses[4:]) / 2, abs=1e-12)
    unbroken.state_file.unlink()
    with pytest.raises(Killed):
        training(on_step=after(3, kill)).run(log_every=4, checkpoint_every=1)
    continued = training()
    continued.run(log_every=4, checkpoint_every=1)
    assert continued.logged[4]["loss_mean"] == unbroken.logged[4]["loss_mean"]


def test_any_score_can_select_and_validation_is_told_the_step(training):
    told = []

    def validate(step):
        told.append(step)
        return {"auc": -step, "dice": step}

    run = training(validate=validate, selects="auc")
    state = run.run(validate_every=3)
    assert told == [3, 6]
    assert (state.best, state.best_step) == (-3, 3)


def test_nothing_is_selected_where_no_score_selects(training):
    run = training(validate=lambda step: {"dice": step}, selects=None)
    state = run.run(validate_every=3)
    assert state.best is None
    assert {kind for kind, _ in run.saved} == {"last"}
    assert run.logged[3]["dice"] == 3


def test_what_a_method_monitors_is_logged_beside_its_losses(training, pair):
    class Watched(pair):
        def monitor(self):
            return {"rank": 2.0}

    run = training(method=Watched())
    run.run(log_every=4)
    assert [values["rank"] for values in run.logged.values()] == [2.0, 2.0]
    assert all("rank" not in values for values in run.steps.values())


def test_the_best_validation_score_is_kept(training):
    scores = iter([0.2, 0.9, 0.5])
    run = training()
    modes = []

    def validate(step):
        modes.append(run.method.training)
        return {"dice": next(scores)}

    run.validate = validate
    state = run.run(validate_every=2)
    assert (state.best, state.best_step) == (0.9, 4)
    assert run.saved == [("best", 2), ("best", 4), ("last", 6)]
    assert modes == [False] * 3
    assert run.method.training
    assert [run.logged[step]["dice"] for step in (2, 4, 6)] == [0.2, 0.9, 0.5]


def test_the_best_score_survives_a_kill(training):
    broken = training(validate=lambda step: {"dice": 0.9}, on_step=after(4, kill))
    with pytest.raises(Killed):
        broken.run(validate_every=2, checkpoint_every=2)
    continued = training(validate=lambda step: {"dice": 0.5})
    state = continued.run(validate_every=2, checkpoint_every=2)
    assert (state.best, state.best_step) == (0.9, 2)
    assert ("best", 4) not in continued.saved


def test_validation_does_not_change_training(training):
    plain = training()
    plain.run()
    plain.state_file.unlink()
    validated = training(validate=lambda step: {"dice": float(torch.rand(1))})
    validated.run(validate_every=1)
    assert torch.equal(plain.weights, validated.weights)


def test_batches_are_drawn_for_the_device_that_trains(training, monkeypatch):
    """So that they lie in pinned memory where that is a GPU."""

    class Drawn(Exception):
        """Ends the training where it begins to draw."""

    def draw(streams, first, workers, device):
        raise Drawn(device.type)

    monkeypatch.setattr(loop, "choose_device", torch.device)
    monkeypatch.setattr(loop, "make_update", lambda *_: SimpleNamespace(apart=tuple))
    monkeypatch.setattr(loop, "Prefetch", draw)
    with pytest.raises(Drawn, match="cuda"):
        training().run(device="cuda")


def test_numbers_that_only_slow_a_processor_down_count_as_zero_while_it_trains(training) -> None:
    """Weights that decay below 1e-38 made each step take twice as long."""
    tiny, seen = torch.tensor([1e-30]), []
    training(on_step=lambda _: seen.append((tiny * 1e-10).item())).run()
    assert seen == [0.0] * 6
    assert (tiny * 1e-10).item() > 0
