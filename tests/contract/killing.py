"""Trainings by the real loop that end where a test wants them to."""

from contextlib import suppress

import torch

from medssl.settings import LoopSettings, OptimiserSettings
from medssl.train.loop import Callbacks, fit


class Killed(Exception):
    """What ends a training in its middle."""


class KillAfter:
    """A reporter and a log that end training after a step, as a kill would; 0 lets it run."""

    def __init__(self, step: int = 0) -> None:
        self._last = step

    def begin(self, total: int, start: int) -> None: ...

    def note(self, text: str) -> None: ...

    def end(self) -> None: ...

    def step(self, step: int, values: dict[str, float]) -> None:
        if step == self._last:
            raise Killed

    def metrics(self, step: int, values: dict[str, float]) -> None: ...


def constant(steps, rate=0.01, name="adamw", **optimiser):
    """A loop with one learning rate that saves its state every second step."""
    chosen = OptimiserSettings(name=name, learning_rate=rate, schedule="constant", **optimiser)
    return LoopSettings(steps=steps, optimiser=chosen, checkpoint_every=2, device="cpu")


def trained(method, streams, settings, state_file, kill_after=0, seed=5):
    """All weights after the training, or after the step at which it was killed."""
    reporter = KillAfter(kill_after)
    with suppress(Killed):
        callbacks = Callbacks(validate=None, save=lambda kind, step, values: None)
        fit(method, streams, settings, seed, state_file, callbacks, reporter, reporter)
    return method.state_dict()


def equal(one, other):
    """Whether two sets of weights have the same names and bits."""
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def check_that_a_kill_changes_nothing(train, tmp_path, kill_after, whole=None):
    """`train(seed, state file, kill_after)` that was killed goes on to the bits of a whole one.

    So equal seeds give equal weights, too: the one that is killed begins anew.

    Args:
        whole: the weights of the whole one with seed 5, where they are known.
    """
    whole = whole or train(5, tmp_path / "whole.pt", 0)
    train(5, tmp_path / "broken.pt", kill_after)
    # Other initial weights: whatever is not in the state would show.
    assert equal(whole, train(99, tmp_path / "broken.pt", 0))
    return whole


def check_that_seed_and_state_decide(train, tmp_path, kill_after):
    """As `check_that_a_kill_changes_nothing`, and another seed gives other weights."""
    whole = check_that_a_kill_changes_nothing(train, tmp_path, kill_after)
    assert not equal(whole, train(6, tmp_path / "other.pt", 0))
