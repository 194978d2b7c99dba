"""A command killed at a moment of the clock, in one process or in one of two, then run again.

What it had reported as saved before the kill must still be there, as it was, after it.
"""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.contract.commands_together import Started
from tests.drivers.command import without_mlflow
from tests.drivers.killing.at_work import at_work
from tests.drivers.killing.compare import differences, leftovers
from tests.drivers.killing.trial import PATIENCE_S, Trials, say

AGENT_S = 0.1
"""So often torchrun's agent looks whether a process is gone; it then asks the others to stop."""


@dataclass(frozen=True)
class Moment:
    """When and how a command is killed.

    Attributes:
        share: of the time that it takes unbroken.
        processes: that carry it out.
        rank: of the one that is killed.
        away: whether MLflow cannot be reached until it is run again.
    """

    number: int
    share: float
    processes: int
    rank: int
    away: bool


def draw(count: int, seed: int, together: float = 0.3) -> list[Moment]:
    """So many moments, of which a share is under two processes, and a quarter without MLflow."""
    rng, found = random.Random(seed), []
    for number in range(count):
        processes = 2 if rng.random() < together else 1
        moment = rng.uniform(0, 1), processes, rng.randrange(processes), rng.random() < 0.25
        found.append(Moment(number, *moment))
    return found


@dataclass
class Outcome:
    """What one moment showed.

    Attributes:
        killed: whether the command was still at work.
        wrong: by kind, in words.
        saved: how many steps, masks and stages had been reported as saved.
        work: what it was at, see `at_work`.
    """

    moment: Moment
    killed: bool = False
    work: str = ""
    saved: int = 0
    wrong: dict[str, str] = field(default_factory=dict)


class Moments(Trials):
    """Kills of one command at moments of the clock."""

    def __init__(self, name: str, work: Path, store: Path | None) -> None:
        super().__init__(name, work, store)
        self._lasts: dict[int, float] = {}

    def measure(self, processes: int) -> None:
        """Run the command unbroken, for comparison and for the time that it takes.

        Raises:
            RuntimeError: it fails.
        """
        place = self._unbroken_of(processes)
        self._prepare(place)
        begun = time.monotonic()
        codes = self._run(place, processes)
        self._lasts[processes] = time.monotonic() - begun
        if any(codes):
            raise RuntimeError(f"without a kill, {processes} processes: {codes}, {say(place)}")

    def _unbroken_of(self, processes: int) -> Path:
        return self._work / f"unbroken{processes}"

    def at(self, moment: Moment) -> Outcome:
        """Kill at a moment, look what is saved, run again, compare."""
        place, outcome = self._work / f"moment{moment.number}", Outcome(moment)
        reference = self._unbroken_of(moment.processes)
        self._prepare(place)
        seconds = moment.share * self._lasts[moment.processes]
        codes = self._run(place, moment.processes, seconds, moment.rank, moment.away)
        outcome.killed = codes[moment.rank] == -signal.SIGKILL
        outcome.work = at_work(place)
        if None in codes:
            outcome.wrong["hang"] = f"others not done in {self._patience(moment.processes):g} s"
        if half := self._misread(place):
            outcome.wrong["partial"] = ", ".join(half)
        before = dict(saved(place))
        outcome.saved = len(before)
        again = self._run(place, moment.processes)
        if None in again:
            outcome.wrong["hang"] = f"run again, not done in {self._patience(moment.processes):g} s"
        elif any(again):
            outcome.wrong["exit_code"] = f"run again: {again}: {say(place)}"
        if lost := [
            name for name, value in before.items() if dict(saved(place)).get(name) != value
        ]:
            outcome.wrong["lost"] = ", ".join(lost[:4])
        if odd := differences(place, reference):
            outcome.wrong["different"] = ", ".join(odd[:4])
        if left := leftovers(place, reference):
            outcome.wrong["left"] = ", ".join(left[:4])
        shutil.rmtree(place)
        shutil.rmtree(_logs(place), ignore_errors=True)
        return outcome

    def _run(
        self,
        place: Path,
        processes: int,
        seconds: float | None = None,
        rank: int = 0,
        away: bool = False,
    ) -> list[int | None]:
        """Exit codes; None of one that hung and was killed for that."""
        data, cache = place.with_name("shared") / "data", place / "cache"
        os.environ |= {"MEDSSL_DATA": str(data), "MEDSSL_CACHE": str(cache)}
        _logs(place).mkdir(exist_ok=True)
        before = (lambda _: without_mlflow()) if away else (lambda _: None)
        words = self._command.words
        started = Started(place, *words, processes=processes, before=before, logs=_logs(place))
        return _watch(started.processes, self._patience(processes), seconds, rank)

    def _patience(self, processes: int) -> float:
        """Seconds after which a command hangs: on a crowded machine all of them take longer."""
        return max(PATIENCE_S, 10 * self._lasts.get(processes, PATIENCE_S))


def _watch(
    processes: Sequence[BaseProcess], patience: float, seconds: float | None, rank: int
) -> list[int | None]:
    """Kill one at its time; where one has failed, ask the others to stop, as torchrun does."""
    begun, asked = time.monotonic(), False
    while alive := [process for process in processes if process.is_alive()]:
        now = time.monotonic() - begun
        if now > patience:
            for process in alive:
                process.kill()
                process.join()
            return [None if process in alive else process.exitcode for process in processes]
        if seconds is not None and now >= seconds:
            processes[rank].kill()
        if not asked and any(process.exitcode for process in processes):
            asked = True
            time.sleep(AGENT_S)
            for process in alive:
                process.terminate()
        time.sleep(0.005)
    return [process.exitcode for process in processes]


def saved(place: Path) -> Iterator[tuple[str, Any]]:
    """What has been reported as saved: logged steps up to the state, results, and done stages.

    Values tell whether it is the same: the time of the step, the bytes of the result, when it was
    written.
    """
    import torch

    for state in place.glob("runs/*/*/state.pt"):
        step = torch.load(state, weights_only=True)["step"]
        log = state.with_name("metrics.jsonl")
        for line in log.read_bytes().splitlines() if log.is_file() else []:
            entry = json.loads(line)
            if entry["step"] <= step:
                yield f"{log.relative_to(place)} {entry['step']}", entry["time"]
    for record in place.rglob("prediction.json"):
        written = _written(record.parent)
        for name in written:
            # The maps of a case appear before its mask, with which it is done.
            masks = [one for one in written if name.startswith(f"{one.removesuffix('.nii.gz')}_")]
            file = record.with_name(name)
            if all(record.with_name(one).is_file() for one in [name, *masks]):
                yield str(file.relative_to(place)), (file.stat().st_mtime_ns, file.read_bytes())
    for done in place.glob("runs/*/*/done.json"):
        if (stage := json.loads(done.read_bytes())["stage"]) != "run":
            weights = done.parent / "checkpoint" / "last" / "weights.safetensors"
            yield (
                f"{done.relative_to(place)} {stage}",
                weights.stat().st_mtime_ns if weights.is_file() else 0,
            )


def _written(folder: Path) -> Mapping[str, str]:
    from medssl.pipeline.record import read_record

    found: Mapping[str, str] = (read_record(folder) or {}).get("written", {})
    return found


def _logs(place: Path) -> Path:
    return place.with_name(f"{place.name}-logs")
