"""A command killed before each of its file operations, then run again until it is done.

    python tests/drivers/kill.py                        every operation of a segmentation
    python tests/drivers/kill.py --family grade --every 5
    python tests/drivers/kill.py --signal TERM          asked to stop: exit code 75
    python tests/drivers/kill.py --family segment,manifest --moments 100 --seed 1

The last one kills at moments of the clock instead, in one process and in one of two, with MLflow
and without; all that was reported as saved before must be there after it as it was.

The result must equal that of an unbroken run in every byte but times and MLflow's ids, and nothing
may be left: no passing or hidden files, no half-written ones under their last names, no MLflow run
that is still RUNNING. The exit code is 1 if anything differs.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "MLFLOW_DISABLE_TELEMETRY": "true"}
for variable in ("MEDSSL_RUNS", "MLFLOW_TRACKING_URI"):
    os.environ.pop(variable, None)

from tests.drivers.command import MLFLOW, load_all  # noqa: E402
from tests.drivers.killing.at_work import WORKS  # noqa: E402
from tests.drivers.killing.moments import Moments, Outcome, draw  # noqa: E402
from tests.drivers.killing.trial import COMMANDS, Report, Trials, make_store  # noqa: E402

KINDS = ("exit_code", "hang", "different", "partial", "left")


def kill_all(
    family: str, every: int, signals: list[str], work: Path, jobs: int = 1, most: int | None = None
) -> list[Report]:
    """Each signal at every so many operations of a command; at most so many, spread evenly."""
    work.mkdir(parents=True, exist_ok=True)
    trials = Trials(family, work, make_store(work / "empty.db"))
    operations = trials.unbroken()
    chosen = list(range(1, operations + 1, every))
    if most is not None and len(chosen) > most:
        chosen = [chosen[round(at * (len(chosen) - 1) / (most - 1))] for at in range(most)]
    print(f"{family}: {operations} operations, {len(chosen)} kills by each signal", flush=True)
    reports = []
    with get_context("fork").Pool(jobs) as pool:
        tasks = [
            (name, pool.apply_async(trials.trial, (one, getattr(signal, f"SIG{name}"))))
            for name in signals
            for one in chosen
        ]
        for name, task in tasks:
            report = task.get()
            reports.append(report)
            for kind in KINDS:
                if found := getattr(report, kind):
                    print(f"  {name} {report.operation}: {kind}: {_short(found)}", flush=True)
    return reports


def kill_at_moments(
    family: str, count: int, seed: int, work: Path, together: float = 0.3
) -> list[Outcome]:
    """Kill a command at so many random moments; tells each that went wrong."""
    work.mkdir(parents=True, exist_ok=True)
    trials = Moments(family, work, make_store(work / "empty.db"))
    moments, outcomes = draw(count, seed, together), []
    for processes in sorted({moment.processes for moment in moments}):
        trials.measure(processes)
    for moment in moments:
        outcome = trials.at(moment)
        outcomes.append(outcome)
        for kind, words in outcome.wrong.items():
            print(f"  {moment}: {kind}: {words}", flush=True)
    return outcomes


def in_words(family: str, outcomes: list[Outcome]) -> str:
    """Counts of kills at moments, in a line."""
    killed = [one for one in outcomes if one.killed]
    two = sum(one.moment.processes == 2 for one in killed)
    away = sum(one.moment.away for one in killed)
    hit = ", ".join(f"{work} {sum(one.work == work for one in killed)}" for work in WORKS)
    kinds = {kind: sum(kind in one.wrong for one in outcomes) for kind in (*KINDS, "lost")}
    said = ", ".join(f"{kind} {number}" for kind, number in kinds.items())
    return (
        f"{family}: {len(outcomes)} moments, {len(killed)} before the end ({two} under two "
        f"processes, {away} without MLflow; at {hit}), "
        f"{sum(one.saved for one in outcomes)} things saved before: {said}"
    )


def counts(reports: list[Report]) -> dict[str, int]:
    """Trials in which something of each kind is wrong."""
    return {kind: sum(bool(getattr(one, kind)) for one in reports) for kind in KINDS}


def _short(found: str | list[str]) -> str:
    if isinstance(found, str):
        return found
    return ", ".join(found[:4]) + (f" and {len(found) - 4} more" if len(found) > 4 else "")


def main() -> int:
    """The command."""
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--family", default="segment", help=f"of {', '.join(COMMANDS)}; or all")
    reader.add_argument("--every", type=int, default=1, help="operations between kills")
    reader.add_argument("--most", type=int, help="kills at most, spread over the run")
    reader.add_argument("--signal", default="KILL", help="of KILL, TERM, INT, USR1; or several")
    reader.add_argument("--jobs", type=int, default=1, help="trials at once")
    reader.add_argument("--moments", type=int, default=0, help="kills at moments of the clock")
    reader.add_argument("--seed", type=int, default=0, help="of the moments")
    reader.add_argument("--together", type=float, default=0.3, help="share under two processes")
    chosen = reader.parse_args()
    families = list(COMMANDS) if chosen.family == "all" else chosen.family.split(",")
    load_all(MLFLOW)
    bad = 0
    for family in families:
        begun = time.monotonic()
        if chosen.moments:
            share = chosen.moments // len(families) + (family == families[0]) * (
                chosen.moments % len(families)
            )
            with tempfile.TemporaryDirectory() as work:
                outcomes = kill_at_moments(family, share, chosen.seed, Path(work), chosen.together)
            print(f"{in_words(family, outcomes)}; {time.monotonic() - begun:.0f} s", flush=True)
            bad += sum(bool(one.wrong) for one in outcomes)
            continue
        with tempfile.TemporaryDirectory() as work:
            reports = kill_all(
                family, chosen.every, chosen.signal.split(","), Path(work), chosen.jobs, chosen.most
            )
        said = ", ".join(f"{kind} {count}" for kind, count in counts(reports).items())
        print(f"{family}: {len(reports)} kills in {time.monotonic() - begun:.0f} s: {said}")
        bad += sum(not report.clean for report in reports)
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
