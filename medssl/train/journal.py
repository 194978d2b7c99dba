"""metrics.jsonl: the numbers of a run, one line per step; what plots and trackers are fed from."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from medssl.atomic import append_text, write_text


@dataclass(frozen=True)
class Entry:
    """Numbers of one step.

    Attributes:
        time: seconds since 1970, when they were logged.
        values: by name; those that were not finite are NaN.
    """

    step: int
    time: float
    values: dict[str, float]


def read_journal(path: Path) -> list[Entry]:
    """The entries of a journal, oldest first; none without the file.

    Lines that a kill cut off, or that something damaged, are passed over.
    """
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [entry for entry in map(_entry, lines) if entry is not None]


def _entry(line: str) -> Entry | None:
    try:
        plain = json.loads(line)
        step, moment = int(plain.pop("step")), float(plain.pop("time"))
        numbers = {name: math.nan if v is None else float(v) for name, v in plain.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return Entry(step, moment, numbers)


class Journal:
    """Appends to a journal; every entry is on disk before the next step."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def rewind(self, step: int) -> int:
        """Forget entries of `step` and after it, and a cut-off line; returns how many remain.

        A run that resumes from a checkpoint repeats the steps after it.
        """
        kept = [entry for entry in read_journal(self._path) if entry.step < step]
        write_text(self._path, "".join(map(_line, kept)))
        return len(kept)

    def append(self, step: int, values: Mapping[str, float]) -> Entry:
        """Write down the numbers of one step."""
        entry = Entry(step, round(time.time(), 3), {k: float(v) for k, v in values.items()})
        append_text(self._path, _line(entry))
        return entry


def _line(entry: Entry) -> str:
    # JSON knows neither NaN nor infinity.
    finite = {k: v if math.isfinite(v) else None for k, v in entry.values.items()}
    return json.dumps({"step": entry.step, "time": entry.time, **finite}) + "\n"
