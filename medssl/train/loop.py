"""The training loop: one function for every method, in plain torch.

Each step takes a batch of every stream and updates the weights; every so many steps it logs,
validates and saves.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torchmetrics.aggregation import MeanMetric

from medssl.data.prefetch import BatchStream, Prefetch
from medssl.device import choose_device
from medssl.errors import Stopped
from medssl.methods.method import Method, Progress
from medssl.settings import LoopSettings
from medssl.stop import Stop, held, listening
from medssl.train.allocator import keep_freed_memory
from medssl.train.distributed import TEAM
from medssl.train.division import OwnPart, own_part
from medssl.train.fine_tune import FineTune
from medssl.train.state import TrainState
from medssl.train.update import Update, make_update


class Reporter(Protocol):
    """Tells a person how training goes."""

    def begin(self, total: int, start: int) -> None:
        """`total` steps, of which `start` are already done."""

    def step(self, step: int, values: dict[str, float]) -> None:
        """Step number `step` is done."""

    def note(self, text: str) -> None:
        """One line on what happens."""

    def end(self) -> None:
        """The last step is done, or the work was given up."""


class Log(Protocol):
    """Keeps numbers by step; the tracker of a run."""

    def metrics(self, step: int, values: dict[str, float]) -> None:
        """Keep `values` of `step`."""


class Search(Protocol):
    """What is computed from the data by the present weights now and then, for batches to use."""

    def due(self, step: int) -> bool:
        """Whether it is to be computed anew after `step` steps."""

    def look(self, step: int) -> None:
        """Compute it anew, after `step` steps."""

    def state(self) -> dict[str, Any]:
        """What is needed to go on, as plain values and tensors."""

    def restore(self, state: dict[str, Any], step: int) -> None:
        """Put back what `state` gave after `step` steps."""


@dataclass(frozen=True)
class Callbacks:
    """The caller's functions that the loop calls: how to validate and how to save.

    Attributes:
        validate: scores of the present weights by name, given the step; None: no validation.
        save: writes the predictor as checkpoint "last" or "best", given the step and its numbers.
        selects: name of the score by which "best" is chosen, higher is better; None chooses none.
        search: what streams need that follows from the present weights; None: nothing.
    """

    validate: Callable[[int], dict[str, float]] | None
    save: Callable[[str, int, dict[str, float]], None]
    selects: str | None = "dice"
    search: Search | None = None


def fit(
    method: Method[Any],
    streams: Mapping[str, BatchStream],
    settings: LoopSettings,
    seed: int,
    state_file: Path,
    callbacks: Callbacks,
    reporter: Reporter,
    log: Log,
    fine_tune: FineTune | None = None,
    workers: int = 1,
) -> TrainState:
    """Train `method` up to step `settings.steps`, continuing from `state_file` where it exists.

    Args:
        method: moved to the device of the settings.
        streams: batches by the name of the stream; batch k is taken in step k + 1.
        seed: with the step, decides every random number.
        fine_tune: rates of pre-trained encoders in the method; None: one schedule for all.
        workers: threads that make batches ahead; 0: this one.

    Raises:
        Stopped: SIGTERM, SIGUSR1 or SIGINT came, to whichever process; the state is saved.
        MedsslError: another process has ended; or a loss term is not finite, which names the
            term and the cases.
        DataError: `state_file` is damaged or of another method.
    """
    device = choose_device(settings.device)
    if device.type == "cpu":
        keep_freed_memory()
    tf32 = settings.precision == "tf32"
    with TEAM.joined(device), float32_products(tf32), tiny_numbers_as_zero():
        shared = {kind: own_part(stream, TEAM) for kind, stream in streams.items()}
        parted = frozenset(kind for kind, one in shared.items() if isinstance(one, OwnPart))
        update = make_update(method, settings, seed, device, fine_tune, parted, reporter.note)
        state = _resumed(state_file, device, update, callbacks.search)
        TEAM.same([*update.apart(), *method.buffers()])
        if state.step < settings.steps:
            reporter.begin(settings.steps, state.step)
            try:
                with (
                    listening(),
                    held() as stop,
                    closing(Prefetch(shared, state.step, workers, device)) as feed,
                ):
                    given = update, settings, state, state_file, callbacks, reporter, log
                    _Loop(*given).run(feed, stop)
            finally:
                reporter.end()
        update.gather()
    return state


def _resumed(
    file: Path,
    device: torch.device,
    update: Update,
    search: Search | None,
) -> TrainState:
    """The state in a file, put back into what is trained; a new one where there is no file."""
    if not TEAM.agreed(file.exists()):
        return TrainState()
    state = TrainState.load(file, device)
    update.restore(state)
    if search is not None:
        search.restore(state.search, state.step)
    return state


@contextmanager
def float32_products(tf32: bool) -> Iterator[None]:
    """While it lasts, products of float32 on a GPU are of all bits, or of those of TF32."""
    matmul, cudnn = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = cudnn


@contextmanager
def tiny_numbers_as_zero() -> Iterator[None]:
    """While it lasts, numbers below 1e-38 count as 0, in this thread and those that it starts.

    Weights that decay to there, as those of levels that nothing needs do, make each step of a CPU
    take twice as long.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def configure_torch(threads: int | None, deterministic: bool) -> None:
    """CPU threads of torch (None leaves them) and determinism, in this process."""
    if threads is not None:
        torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    # A debugging aid that comes with it and costs time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def running_mean(kept: Mapping[str, Any]) -> MeanMetric:
    """The mean of a loss over steps, which goes on from a kept state; empty: from the beginning.

    Every process has the same loss of the whole batch, so that nothing is joined over them.
    """
    mean = MeanMetric(nan_strategy="disable", sync_on_compute=False)
    mean.set_dtype(torch.float64)
    mean.persistent(True)
    if kept:
        mean.load_state_dict(kept)
    return mean


@dataclass(frozen=True)
class _Loop:
    """What happens in each step; the arguments of `fit`."""

    update: Update
    settings: LoopSettings
    state: TrainState
    state_file: Path
    callbacks: Callbacks
    reporter: Reporter
    log: Log

    def run(self, feed: Prefetch, stop: Stop) -> None:
        """All steps that are left.

        Raises:
            Stopped: a signal came to one of the processes.
        """
        settings, clock = self.settings, _Clock(feed)
        mean = running_mean(self.state.losses)
        for step in range(self.state.step + 1, settings.steps + 1):
            values = self.update(feed.take(), Progress(step, settings.steps))
            self.state.step = step
            mean.update(values["loss"])
            values |= clock.tick()
            last = step == settings.steps
            validates = last or step % settings.validate_every == 0
            if validates:
                values |= self._validate()
                clock.skip()
            search = self.callbacks.search
            if not last and search is not None and search.due(step):
                with self.update.whole():
                    search.look(step)
                clock.skip()
            if last or step % settings.log_every == 0 or (validates and self.callbacks.validate):
                told = {"loss_mean": float(mean.compute())} | self.update.method.monitor()
                mean.reset()
                self.log.metrics(step, values | told)
            self.reporter.step(step, values)
            stops = TEAM.any(stop.requested)
            if last or stops or step % settings.checkpoint_every == 0:
                self.state.losses = mean.state_dict()
                self._save(values)
            if stops:
                raise Stopped(
                    f"training stopped after step {step} of {settings.steps}",
                    "asked to by a signal",
                    "run the same command again to continue",
                )

    def _save(self, values: dict[str, float]) -> None:
        """The checkpoint "last" and the state, by the process that writes."""
        update, search = self.update, self.callbacks.search
        optimiser = update.optimiser_state()
        with update.whole():
            if not TEAM.leads:
                return
            # The state is saved last: whenever a kill comes, what it calls done is on disk.
            self.callbacks.save("last", self.state.step, values)
            self.state.keep(update.method, optimiser, update.scaler)
            self.state.search = {} if search is None else search.state()
            self.state.save(self.state_file)

    def _validate(self) -> dict[str, float]:
        """Scores on the validation cases; the best weights so far are kept."""
        callbacks, state, method = self.callbacks, self.state, self.update.method
        if callbacks.validate is None:
            return {}
        with self.update.whole():
            method.eval()
            scores: dict[str, float] = TEAM.agreed(callbacks.validate(state.step))
            if callbacks.selects is not None:
                chosen = scores[callbacks.selects]
                if state.best is None or chosen > state.best:
                    state.best, state.best_step = float(chosen), state.step
                    if TEAM.leads:
                        callbacks.save("best", state.step, scores)
            method.train()
        return scores


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
