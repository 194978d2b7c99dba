"""The training loop: one function for every method, in plain torch.

Legend of its story: batches of every stream, random intensities, forward part by part, backward,
clip, step, the method's own update; now and then log, validate, save.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, ContextManager, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from medssl.data.augment import augment
from medssl.data.batch import Batch
from medssl.data.stream import PatchStream, Prefetch
from medssl.errors import MedsslError, Stopped
from medssl.methods.method import Method, Progress
from medssl.pipeline.settings import AugmentSettings, TrainSettings
from medssl.train.schedule import learning_rate
from medssl.train.state import TrainState


class Reporter(Protocol):
    """Tells a person how training goes."""

    def begin(self, total: int, start: int) -> None: ...
    def step(self, step: int, values: dict[str, float]) -> None: ...
    def note(self, text: str) -> None: ...
    def end(self) -> None: ...


class Log(Protocol):
    """Keeps numbers by step; the tracker of a run."""

    def metrics(self, step: int, values: dict[str, float]) -> None: ...


@dataclass(frozen=True)
class Hooks:
    """What the loop calls but does not know.

    Attributes:
        validate: scores of the present weights; "dice" is the one that selects.
        save: writes the predictor as checkpoint "last" or "best".
    """

    validate: Callable[[], dict[str, float]] | None
    save: Callable[[str, int, dict[str, float]], None]


def fit(
    method: Method,
    streams: dict[str, PatchStream],
    settings: TrainSettings,
    random_changes: AugmentSettings,
    seed: int,
    state_file: Path,
    hooks: Hooks,
    reporter: Reporter,
    log: Log,
) -> TrainState:
    """Train `method` to `settings.steps`, from `state_file` where it exists.

    Raises:
        Stopped: SIGTERM, SIGUSR1 or SIGINT came; the state is saved.
        MedsslError: a loss term is not finite; it names the term and the cases.
    """
    device = choose_device(settings.device)
    method.to(device).train()
    if settings.channels_last:
        method.to(memory_format=torch.channels_last_3d)
    optimiser = build_optimiser(method, settings)
    scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "float16")
    state = _resume(state_file, method, optimiser, scaler, device)
    if state.step >= settings.steps:
        return state
    feed = Prefetch(streams, state.step)
    reporter.begin(settings.steps, state.step)
    clock = _Clock(feed)
    try:
        with _stop_on_signal() as stop:
            for step in range(state.step + 1, settings.steps + 1):
                batches = {k: b.to(device) for k, b in feed.take(step - 1).items()}
                progress = Progress(step, settings.steps)
                values = _train_step(
                    method, batches, progress, settings, random_changes, seed, optimiser, scaler
                )
                state.step = step
                values |= clock.tick()
                last = step == settings.steps
                if hooks.validate and (last or step % settings.validate_every == 0):
                    values |= _validate(method, hooks, state)
                    clock.skip()
                if last or step % settings.log_every == 0 or "dice" in values:
                    log.metrics(step, values)
                reporter.step(step, values)
                if last or stop.requested or step % settings.checkpoint_every == 0:
                    _store(state, state_file, method, optimiser, scaler, hooks, values)
                if stop.requested and not last:
                    raise Stopped(f"training stopped after step {step}", "asked to by a signal",
                                  "run the same command again to continue")  # fmt: skip
    finally:
        feed.close()
        reporter.end()
    return state


def choose_device(name: str) -> torch.device:
    """"auto" takes the GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def build_optimiser(method: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """Optimiser of all trainable parameters."""
    chosen = settings.optimiser
    trainable = [p for p in method.parameters() if p.requires_grad]
    if chosen.name == "adamw":
        return torch.optim.AdamW(
            trainable, lr=chosen.learning_rate, weight_decay=chosen.weight_decay
        )
    return torch.optim.SGD(
        trainable,
        lr=chosen.learning_rate,
        momentum=chosen.momentum,
        weight_decay=chosen.weight_decay,
    )


def step_seed(seed: int, step: int) -> int:
    """Seed of everything random in one step."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])


def _train_step(
    method: Method,
    batches: dict[str, Batch],
    progress: Progress,
    settings: TrainSettings,
    random_changes: AugmentSettings,
    seed: int,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> dict[str, float]:
    """One update of all weights; returns the value of every term, their sum and the rate."""
    device = next(iter(batches.values())).image.device
    drawn = step_seed(seed, progress.step)
    torch.manual_seed(drawn)  # dropout
    generator = torch.Generator(device).manual_seed(drawn)
    for batch in batches.values():
        batch.image = augment(batch.image, random_changes, generator)
    rate = learning_rate(settings.optimiser, progress.step, progress.steps)
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.zero_grad(set_to_none=True)
    terms: dict[str, float] = {}
    for part in range(method.parts):
        with _autocast(settings, device):
            found = method(batches, progress, generator, part)
        _refuse_non_finite(found, batches, progress.step)
        scaler.scale(sum_of(found)).backward()
        terms |= {f"loss/{name}": value.item() for name, value in found.items()}
    if settings.clip_norm is not None:
        scaler.unscale_(optimiser)
        for network in method.networks():
            nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
    scaler.step(optimiser)
    scaler.update()
    method.after_step(progress)
    return {"loss": sum(terms.values()), **terms, "learning_rate": rate}


def sum_of(terms: dict[str, Tensor]) -> Tensor:
    """The loss: the sum of all terms."""
    return torch.stack(list(terms.values())).sum()


def _autocast(settings: TrainSettings, device: torch.device) -> ContextManager[Any]:
    if settings.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, getattr(torch, settings.precision))


def _refuse_non_finite(terms: dict[str, Tensor], batches: dict[str, Batch], step: int) -> None:
    if bool(torch.isfinite(sum_of(terms))):
        return
    bad = [name for name, value in terms.items() if not bool(torch.isfinite(value))]
    cases = ", ".join(sorted({case for batch in batches.values() for case in batch.ids}))
    raise MedsslError(
        f"loss term {' and '.join(bad)} is not finite at step {step}",
        f"the batch held the cases {cases}",
        "look at these cases with `medssl data check`, or lower train.optimiser.learning_rate",
    )


def _validate(method: Method, hooks: Hooks, state: TrainState) -> dict[str, float]:
    """Scores on the validation cases; the best weights so far are kept."""
    if hooks.validate is None:
        return {}
    method.eval()
    scores = hooks.validate()
    if state.best is None or scores["dice"] > state.best:
        state.best, state.best_step = scores["dice"], state.step
        hooks.save("best", state.step, scores)
    method.train()
    return scores


def _store(
    state: TrainState,
    path: Path,
    method: Method,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    hooks: Hooks,
    values: dict[str, float],
) -> None:
    state.method, state.optimiser = method.state_dict(), optimiser.state_dict()
    state.scaler = scaler.state_dict()
    state.save(path)
    hooks.save("last", state.step, values)


def _resume(
    path: Path,
    method: Method,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    device: torch.device,
) -> TrainState:
    if not path.exists():
        return TrainState()
    state = TrainState.load(path, device)
    method.load_state_dict(state.method)
    optimiser.load_state_dict(state.optimiser)
    scaler.load_state_dict(state.scaler)
    return state


class _Clock:
    """Steps per second and the share of time spent waiting for data."""

    def __init__(self, feed: Prefetch) -> None:
        self._feed = feed
        self._begin = time.perf_counter()
        self._pause = self._begin
        self._steps = 0

    def tick(self) -> dict[str, float]:
        """Count a step."""
        self._steps += 1
        self._pause = time.perf_counter()
        spent = max(self._pause - self._begin, 1e-9)
        return {"steps_per_s": self._steps / spent, "wait_share": self._feed.waited / spent}

    def skip(self) -> None:
        """Leave out the time since the last step, which went into validation."""
        self._begin += time.perf_counter() - self._pause


class _Stop:
    requested = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.requested = True


@contextmanager
def _stop_on_signal() -> Iterator[_Stop]:
    """SIGTERM, SIGINT and SLURM's SIGUSR1 ask for a stop after the present step."""
    stop = _Stop()
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    try:
        before = {number: signal.signal(number, stop) for number in signals}
    except ValueError:  # not in the main thread: the caller owns the signals
        yield stop
        return
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
