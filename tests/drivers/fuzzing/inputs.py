"""From (format, number, seed) to an input, and what became of it; many of them in a process apart.

The process that does the work is forked, so that a crash or a loop that no signal ends costs one
input and not the driver.
"""

import os
import resource
import shutil
import signal
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from tests.drivers.fuzzing.damage import NOWHERE
from tests.drivers.fuzzing.format import Format
from tests.drivers.fuzzing.watch import GIB, LIMIT_S, Outcome, watch

PATIENCE_S = 10 * LIMIT_S
"""Without a word for so long, the process is given up; the first input makes the sample too."""

ADDRESS_SPACE = 6 * GIB
"""Beyond what the libraries take; so that a wild allocation fails instead of ending the machine."""


@dataclass(frozen=True)
class Input:
    """One damaged sample; equal seeds and numbers give equal samples."""

    format: Format
    number: int
    seed: int

    @property
    def name(self) -> str:
        """What `--one` takes."""
        return f"{self.format.name}:{self.number}"


@dataclass(frozen=True)
class Result:
    """What became of one step of an input."""

    step: str
    damage: str
    outcome: Outcome


def share_out(formats: Sequence[Format], inputs: int, seed: int) -> list[Input]:
    """So many inputs over the formats by weight, at least one each."""
    total = sum(one.weight for one in formats)
    counts = [max(1, round(inputs * one.weight / total)) for one in formats]
    return [
        Input(one, number, seed)
        for one, count in zip(formats, counts, strict=True)
        for number in range(count)
    ]


def attempt(one: Input, work: Path) -> list[Result]:
    """Damage a copy of the format's sample and carry out every step on it."""
    base, place = work / "samples" / one.format.name, work / "place"
    if not base.is_dir():
        # Made beside, so that a sample that is there is whole.
        beside = work / "making" / one.format.name
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        one.format.make(beside)
        base.parent.mkdir(exist_ok=True)
        beside.rename(base)
    os.chdir(work)
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(base, place)
    os.chdir(place)
    for name, folder in (
        ("DATA", "data"),
        ("RUNS", "runs"),
        ("CACHE", "cache"),
        ("ENCODERS", "encoders"),
    ):
        os.environ[f"MEDSSL_{name}"] = str(place / folder)
    rng = np.random.default_rng([one.seed, zlib.crc32(one.format.name.encode()), one.number])
    damage = one.format.damage(place, rng)
    results = [
        Result(name, damage, outcome)
        for name, action in one.format.exercise(place, base)
        for outcome in watch(action, place)
    ]
    return results + [Result("all", damage, outcome) for outcome in _escaped(work)]


def _escaped(work: Path) -> list[Outcome]:
    """What was written where only a name that leads out of its folder leads; it is removed."""
    found = [path for path in (work / "x", NOWHERE) if path.exists()]
    for path in found:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return [Outcome("SILENT", f"wrote {path.name} outside of its folders") for path in found]


def carry_out(
    inputs: Sequence[Input], work: Path, on_result: Callable[[Input, list[Result]], None]
) -> None:
    """All inputs, in order, in processes that end with this call."""
    remaining = list(inputs)
    while remaining:
        receive, send = Pipe(duplex=False)
        child = os.fork()
        if not child:
            receive.close()
            _work(remaining, work, send)
        send.close()
        done = _collect(remaining, receive, on_result)
        remaining = remaining[done:]
        if remaining:  # hung or crashed
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if remaining:
            lost, remaining = remaining[0], remaining[1:]
            number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            on_result(
                lost, [Result("process", "", _fate(number, os.waitstatus_to_exitcode(status)))]
            )


def _fate(number: int, code: int) -> Outcome:
    if number == signal.SIGKILL:
        return Outcome("HANG", f"no signal ends it, not even after {PATIENCE_S:g} s")
    return Outcome("RAW", f"the process ended with {code}")


def _collect(
    inputs: Sequence[Input],
    receive: Connection,
    on_result: Callable[[Input, list[Result]], None],
) -> int:
    """Pass on what the process says; returns how many inputs it finished."""
    for done, one in enumerate(inputs):
        try:
            if not receive.poll(PATIENCE_S):
                return done
            on_result(one, receive.recv())
        except EOFError:
            return done
    return len(inputs)


def _work(inputs: Sequence[Input], work: Path, send: Connection) -> None:
    """The forked process; its own words go nowhere, and it never returns."""
    code = 1
    try:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        limit_memory()
        for one in inputs:
            try:
                send.send(attempt(one, work))
            except Exception as error:  # the driver's own
                words = f"{type(error).__name__}: {error}"
                send.send([Result("driver", "", Outcome("RAW", f"the driver fails: {words}"))])
        code = 0
    finally:
        os._exit(code)


def limit_memory() -> None:
    """Let no more address space be taken than is good for the machine."""
    lines = Path("/proc/self/status").read_text().splitlines()
    taken = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmSize:"))
    resource.setrlimit(resource.RLIMIT_AS, (taken + ADDRESS_SPACE,) * 2)
