"""metrics.jsonl: the numbers of a run, one line per step; what plots and trackers are fed from."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from medssl.atomic import write_text


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

    A last line that a kill cut off is passed over.
    """
    if not path.is_file():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            plain = json.loads(line)
        except ValueError:
            continue
        step, moment = int(plain.pop("step")), float(plain.pop("time"))
        values = {name: math.nan if value is None else value for name, value in plain.items()}
        entries.append(Entry(step, moment, values))
    return entries


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
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(_line(entry))
        return entry


def _line(entry: Entry) -> str:
    # JSON knows neither NaN nor infinity.
    finite = {k: v if math.isfinite(v) else None for k, v in entry.values.items()}
    return json.dumps({"step": entry.step, "time": entry.time, **finite}) + "\n"
