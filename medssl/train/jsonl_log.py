"""metrics.jsonl: the numbers of a run, one line per step; plots and trackers read it."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def read_log(path: Path) -> list[Entry]:
    """The entries of a journal, oldest first; none without the file.

    Lines that a kill cut off, and other lines that are no entries, are passed over.
    """
    entries = []
    for plain in read_lines(path):
        step, moment = plain.pop("step", None), plain.pop("time", None)
        known = [value for value in (step, moment, *plain.values()) if value is not None]
        if isinstance(step, int) and moment is not None and all(map(_is_number, known)):
            values = {name: math.nan if value is None else value for name, value in plain.items()}
            entries.append(Entry(step, float(moment), values))
    return entries


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file with one per line, without other lines; none without a file."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_bytes().splitlines():
        try:
            plain = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(plain, dict):
            found.append(plain)
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class Journal:
    """Appends to a journal; every entry is on disk before the next step."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def rewind(self, step: int) -> int:
        """Forget entries of `step` and after it, and a cut-off line; returns how many remain.

        A run that resumes from a checkpoint repeats the steps after it.
        """
        kept = [entry for entry in read_log(self._path) if entry.step < step]
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
