"""Damaged inputs of every format that medssl reads; counts what is neither read nor told.

    python tests/drivers/fuzz.py --inputs 2000 --seed 0
    python tests/drivers/fuzz.py --only nifti,dicom
    python tests/drivers/fuzz.py --one nifti:17     once more, with the traceback

An input may be read (ok) or refused in one sentence (told). Anything else is a finding, and the
exit code is 1: RAW (an exception of Python's or a library's), HANG, MEMORY (more than 1 GiB),
PARTIAL (a failure left a half-written file), SILENT (an independent reader finds another value, or
damage went unnoticed), UNCLEAR (a message that is no sentence on one line).
"""

import argparse
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))
os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "MPLBACKEND": "Agg"}

from tests.drivers.command import load_all, without_mlflow
from tests.drivers.fuzzing.formats import FORMATS
from tests.drivers.fuzzing.inputs import Input, Result, attempt, carry_out, share_out
from tests.drivers.fuzzing.watch import FINDINGS


class Tally:
    """Counts per format, and every distinct finding with the first input that shows it."""

    def __init__(self, name_seed: int) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self.found: dict[tuple[str, ...], list[str]] = {}
        self.seconds: Counter[str] = Counter()
        self._seed, self._last = name_seed, time.perf_counter()

    def add(self, one: Input, results: list[Result]) -> None:
        """Take note of an input."""
        now = time.perf_counter()
        self.seconds[one.format.name] += now - self._last
        self._last = now
        counts = self.counts.setdefault(one.format.name, Counter())
        kinds = {result.outcome.kind for result in results}
        bad = kinds & set(FINDINGS)
        counts.update(bad or ({"told"} if "told" in kinds else {"ok"}))
        for result in results:
            outcome = result.outcome
            if outcome.kind in FINDINGS:
                what = outcome.words.split(":")[0] if outcome.where else outcome.words
                key = (outcome.kind, outcome.where or one.format.name, what)
                words = f"{outcome.where or result.step}: {outcome.words[:160]!s} [{result.damage}]"
                if key not in self.found:
                    self.found[key] = []
                    print(f"{outcome.kind:8}{one.name:18} {words!r}", flush=True)
                self.found[key].append(one.name)

    def table(self) -> str:
        """Counts of inputs per format; an input with two kinds of findings counts in both."""
        kinds = ("ok", "told", *FINDINGS)
        rows = ["  ".join([f"{'format':18}", *(f"{kind:>7}" for kind in kinds), "      s"])]
        for name, counts in self.counts.items():
            cells = [f"{counts[kind]:7}" for kind in kinds]
            rows.append("  ".join([f"{name:18}", *cells, f"{self.seconds[name]:7.1f}"]))
        total: Counter[str] = sum(self.counts.values(), Counter())
        cells = [f"{total[kind]:7}" for kind in kinds]
        rows.append("  ".join([f"{'all':18}", *cells, f"{self.seconds.total():7.1f}"]))
        return "\n".join(rows)


def fuzz(inputs: int, seed: int, only: list[str], work: Path) -> Tally:
    """Carry out so many inputs; findings are printed as they come."""
    chosen = [one for one in FORMATS if not only or one.name in only]
    load_all()
    without_mlflow()
    tally = Tally(seed)
    carry_out(share_out(chosen, inputs, seed), work, tally.add)
    return tally


def show(name: str, seed: int, work: Path) -> int:
    """One input in this process, with every traceback."""
    from tests.drivers.fuzzing import watch

    without_mlflow()
    form, _, number = name.partition(":")
    chosen = next(one for one in FORMATS if one.name == form)
    carry = watch._carry_out

    def told(action):
        def loud():
            try:
                return action()
            except BaseException:
                traceback.print_exc()
                raise

        return carry(loud)

    watch._carry_out = told
    results = attempt(Input(chosen, int(number), seed), work)
    for result in results:
        print(f"{result.step}: {result.outcome.kind} {result.outcome.words!r}")
    print(results[0].damage if results else "")
    return int(any(result.outcome.kind in FINDINGS for result in results))


def main() -> int:
    """The command."""
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--inputs", type=int, default=2000)
    reader.add_argument("--seed", type=int, default=0)
    reader.add_argument("--only", default="", help="formats, separated by commas")
    reader.add_argument("--one", default="", help="FORMAT:NUMBER, with tracebacks")
    reader.add_argument("--keep", type=Path, help="folder to work in, kept afterwards")
    chosen = reader.parse_args()
    with tempfile.TemporaryDirectory() as passing:
        work = chosen.keep.resolve() if chosen.keep else Path(passing)
        work.mkdir(parents=True, exist_ok=True)
        try:
            if chosen.one:
                return show(chosen.one, chosen.seed, work)
            only = [name for name in chosen.only.split(",") if name]
            if unknown := set(only) - {one.name for one in FORMATS}:
                names = ", ".join(one.name for one in FORMATS)
                reader.error(f"unknown: {', '.join(sorted(unknown))}; formats are {names}")
            tally = fuzz(chosen.inputs, chosen.seed, only, work)
        finally:
            os.chdir("/")
    print(tally.table())
    print(f"{len(tally.found)} distinct findings")
    return int(bool(tally.found))


if __name__ == "__main__":
    raise SystemExit(main())
