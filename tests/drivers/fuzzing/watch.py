"""One step of an input, watched: what it raises, how long it takes, what it leaves behind."""

import gzip
import json
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import medssl
from medssl.errors import MedsslError
from tests.drivers.fuzzing.format import Silent

GIB = 2**30
LIMIT_S, GROWTH = 60.0, GIB
"""CPU seconds of a step, so that other work on the machine makes no hang; and bytes."""

ASLEEP = 5
"""So many times as long may a step take by the clock, if it waits for something."""

PACKAGE = Path(medssl.__file__).parent
WRITTEN = ("out", "runs", "cache", "encoders")
"""Folders of a sample that only medssl writes to."""

FINDINGS = ("RAW", "HANG", "MEMORY", "PARTIAL", "SILENT", "UNCLEAR")


class TimeUp(BaseException):
    """The step takes too long; no `except Exception` may keep it."""


@dataclass(frozen=True)
class Outcome:
    """What became of a step.

    Attributes:
        kind: "ok", "told" (one sentence), or one of FINDINGS.
        words: the message, or what is wrong.
        where: innermost line of medssl, for exceptions.
    """

    kind: str
    words: str = ""
    where: str = ""


def watch(action: Callable[[], Any], place: Path) -> list[Outcome]:
    """Carry out one step in the working directory `place`."""
    before, base = _written(place), _resident(peak=False)
    outcome = _carry_out(action)
    found = [outcome]
    grown = _resident(peak=True) - base
    if grown > GROWTH:
        found.append(Outcome("MEMORY", f"took {grown / GIB:.1f} GiB"))
    if outcome.kind != "ok":
        partial = [path for path in sorted(_written(place) - before) if half_written(path)]
        if partial:
            names = ", ".join(str(path.relative_to(place)) for path in partial[:3])
            found.append(Outcome("PARTIAL", f"left {names}"))
    return found


def half_written(path: Path) -> bool:
    """Whether a file is one that only a failure leaves: under a passing name, or not whole."""
    name = path.name
    if name.startswith(".") or name.endswith(".old") or ".part" in name:
        return True
    try:
        if name.endswith(".gz"):
            with gzip.open(path) as stream:
                while stream.read(2**20):
                    pass
        if name.endswith(".json"):
            # A checksum may follow.
            json.JSONDecoder().raw_decode(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, EOFError, ValueError):
        return True
    return path.stat().st_size == 0 and not name.endswith((".lock", ".jsonl"))


def _carry_out(action: Callable[[], Any]) -> Outcome:
    try:
        with _time_limit():
            action()
    except MedsslError as error:
        sentence = str(error)
        clear = bool(sentence.strip()) and sentence.isprintable() and "Traceback" not in sentence
        return Outcome("told" if clear else "UNCLEAR", sentence, "" if clear else where(error))
    except Silent as error:
        return Outcome("SILENT", str(error))
    except TimeUp as error:
        return Outcome(
            "HANG", f"not done after {LIMIT_S:g} s of CPU or {ASLEEP * LIMIT_S:g} s", where(error)
        )
    except MemoryError as error:
        return Outcome("MEMORY", repr(error), where(error))
    except SystemExit as end:
        if end.code == 2:
            return Outcome("told", "usage")
        return Outcome("RAW", f"SystemExit({end.code!r})", where(end))
    except Exception as error:
        kind = "MEMORY" if "can't allocate memory" in str(error) else "RAW"
        return Outcome(kind, f"{type(error).__name__}: {error}", where(error))
    return Outcome("ok")


def where(error: BaseException) -> str:
    """Innermost line of medssl in a traceback, as file:line in function."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if Path(frame.filename).is_relative_to(PACKAGE)]
    if not inside:
        return ""
    last = inside[-1]
    return f"{Path(last.filename).relative_to(PACKAGE.parent)}:{last.lineno} in {last.name}"


@contextmanager
def _time_limit() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TimeUp

    clocks = {
        signal.SIGPROF: (signal.ITIMER_PROF, LIMIT_S),
        signal.SIGALRM: (signal.ITIMER_REAL, ASLEEP * LIMIT_S),
    }
    before = {number: signal.signal(number, ring) for number in clocks}
    for clock, seconds in clocks.values():
        signal.setitimer(clock, seconds)
    try:
        yield
    finally:
        for number, (clock, _) in clocks.items():
            signal.setitimer(clock, 0)
            signal.signal(number, before[number])


def _written(place: Path) -> set[Path]:
    return {
        Path(folder) / name
        for part in WRITTEN
        for folder, _, names in os.walk(place / part)
        for name in names
    }


def _resident(peak: bool) -> int:
    """Bytes in memory now; or at most since the last call with false."""
    if not peak:
        Path("/proc/self/clear_refs").write_text("5")
    key = "VmHWM:" if peak else "VmRSS:"
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))
