"""Kills before the k-th file operation of a small run, for every k; counts what is not as it was.

    python tests/drivers/kill.py                       every operation of every family
    python tests/drivers/kill.py --family balls --every 10
    python tests/drivers/kill.py --signal TERM         asked to stop: exit code 75, then the same

A killed command is given again until it is done. Then all that it leaves must equal what an
unbroken run leaves, bit for bit but for times and ids; there must be no other file, and MLflow must
not hold a run that seems to go on. The exit code is 1 where one of these is not so.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "MPLBACKEND": "Agg"}

from tests.drivers.command import load_all
from tests.drivers.toys import TOYS

COMMANDS: dict[str, tuple[str, ...]] = {
    "balls": (
        "run", "balls", "method=tracoco", "method.preset=cps", "train.steps=4",
        "train.checkpoint_every=2", "train.validate_every=2",
    ),
    "heads": ("pretrain", "encoder", "train.steps=4", "train.checkpoint_every=2"),
    "joints": (
        "run", "joints", "train.steps=4", "train.checkpoint_every=2", "train.validate_every=2",
    ),
    "slides": ("run", "slides", "train.epochs=2"),
}  # fmt: skip

LIMIT_S = 300.0
STOPPED = 75
FINDINGS = ("exit", "difference", "leftover", "running", "hang")

WRITES = {
    "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink",
    "shutil.rmtree", "shutil.copyfile", "shutil.move", "sqlite3.connect",
}  # fmt: skip
TIMES = ("steps_per_s", "wait_share", "seconds")
"""Numbers that no two runs share."""


@dataclass(frozen=True)
class Left:
    """What a command left: the content of each file but for times and ids, and its MLflow runs."""

    files: dict[str, str]
    statuses: Counter[str]


def carry_out(place: Path, arguments: tuple[str, ...], at: int = 0, by: int = 0) -> tuple[int, int]:
    """The command in a child of this process, with a signal before file operation `at`.

    Returns:
        Exit code, negative for the signal that ended it; and how many file operations it began.
    """
    counted = place / "counted"
    child = os.fork()
    if child == 0:
        _become_command(place, arguments, at, by, counted)
    since = time.monotonic()
    while time.monotonic() - since < LIMIT_S:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            count = counted.stat().st_size if counted.is_file() else 0
            counted.unlink(missing_ok=True)
            return os.waitstatus_to_exitcode(status), count
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise TimeoutError


def _become_command(
    place: Path, arguments: tuple[str, ...], at: int, by: int, counted: Path
) -> None:
    code = 1
    try:
        os.chdir(place)
        for name, folder in (("DATA", "data"), ("RUNS", "runs"), ("CACHE", "cache")):
            os.environ[f"MEDSSL_{name}"] = folder
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        log = os.open(place / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = ["medssl", *arguments, "-q"]
        tally = os.open(counted, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        _listen(tally, at, by)
        from medssl.__main__ import main

        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _listen(tally: int, at: int, by: int) -> None:
    """Count operations on files as Python announces them; at the `at`-th, send the signal."""
    seen = 0

    def hear(event: str, details: tuple[Any, ...]) -> None:
        nonlocal seen
        if event == "open":
            if not isinstance(details[2], int) or not details[2] & (os.O_WRONLY | os.O_RDWR):
                return
        elif event not in WRITES:
            return
        seen += 1
        os.write(tally, b".")
        if seen == at:
            os.kill(os.getpid(), by)

    sys.addaudithook(hear)


def look(place: Path) -> Left:
    """Everything below the runs and the cache."""
    files = {}
    for folder in ("runs", "cache"):
        for path in sorted((place / folder).rglob("*")):
            name = str(path.relative_to(place))
            if "mlartifacts" in name:
                if path.name.startswith("."):
                    files[name] = ""
            elif path.is_file() and "mlflow.db" not in path.name:
                files[name] = _content(path)
    with sqlite3.connect(place / "runs" / "mlflow.db") as store:
        rows = store.execute("select status from runs where lifecycle_stage = 'active'")
        statuses = Counter(status for (status,) in rows)
    return Left(files, statuses)


def _content(path: Path) -> str:
    """A digest of a file; of JSON without times and ids, of a report its presence."""
    if path.name in ("tracking.json", "SHA256SUMS") or path.suffix == ".html":
        return ""
    if path.suffix == ".json" and path.name != "case.json":
        return json.dumps(_timeless(json.loads(path.read_text())), sort_keys=True)
    if path.suffix == ".jsonl":
        return "\n".join(
            json.dumps(_timeless(json.loads(line)), sort_keys=True)
            for line in path.read_text().splitlines()
        )
    if path.name == "state.pt":
        return _state(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _state(path: Path) -> str:
    import torch

    digest = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            digest.update(value.numpy().tobytes())
        elif isinstance(value, dict):
            for key in sorted(value, key=str):
                digest.update(str(key).encode())
                add(value[key])
        elif isinstance(value, list | tuple):
            for one in value:
                add(one)
        else:
            digest.update(repr(value).encode())

    kept = torch.load(path, weights_only=True)
    kept.pop("checksum", None)
    add(kept)
    return digest.hexdigest()


def _timeless(plain: Any) -> Any:
    if isinstance(plain, dict):
        return {
            key: _timeless(value)
            for key, value in plain.items()
            if key not in ("time", "run_id", "mlflow_run", "sha256", "checksum", "checksums")
            and not any(key.endswith(name) for name in TIMES)
        }
    return [_timeless(one) for one in plain] if isinstance(plain, list) else plain


def trial(base: Path, place: Path, whole: Left, arguments: tuple[str, ...], at: int, by: int):
    """One signal, and the same command again until it is done.

    Returns:
        The findings, each with what was found; and whether the signal came before the end.
    """
    shutil.copytree(base, place)
    found: list[tuple[str, str]] = []
    try:
        code, _ = carry_out(place, arguments, at, by)
        hit = code != 0
        wanted = STOPPED if by != signal.SIGKILL else -signal.SIGKILL
        if code not in (0, wanted):
            found.append(("exit", f"code {code} instead of {wanted}"))
        if by != signal.SIGKILL and (place / "runs" / "mlflow.db").is_file():
            going_on = _statuses(place)["RUNNING"]
            if going_on:
                found.append(("running", f"{going_on} runs go on in MLflow after the stop"))
        code, _ = carry_out(place, arguments)
        if code:
            found.append(("exit", f"code {code} when given again"))
            return found, hit
    except TimeoutError:
        return [("hang", f"not done after {LIMIT_S:g} s")], True
    left = look(place)
    found += [("leftover", name) for name in sorted(set(left.files) - set(whole.files))]
    found += [
        ("difference", f"{name} lacks") for name in sorted(set(whole.files) - set(left.files))
    ]
    found += [
        ("difference", name)
        for name in sorted(set(left.files) & set(whole.files))
        if left.files[name] != whole.files[name]
    ]
    if left.statuses["RUNNING"]:
        found.append(("running", f"{left.statuses['RUNNING']} runs go on in MLflow"))
    return found, hit


def _statuses(place: Path) -> Counter[str]:
    with sqlite3.connect(place / "runs" / "mlflow.db") as store:
        try:
            rows = store.execute("select status from runs where lifecycle_stage = 'active'")
            return Counter(status for (status,) in rows)
        except sqlite3.OperationalError:  # killed before the tables were there
            return Counter()


def kill_family(
    toy: str, every: int, first: int, by: int, work: Path
) -> tuple[Counter[str], dict[tuple[str, str], int]]:
    """All trials of one family: counts, and each distinct finding with its first operation."""
    base, arguments = work / f"{toy}-base", COMMANDS[toy]
    TOYS[toy](base)
    shutil.copytree(base, work / f"{toy}-whole")
    code, operations = carry_out(work / f"{toy}-whole", arguments)
    if code:
        raise SystemExit(f"the unbroken run of {toy} ends with {code}; see {work}")
    whole = look(work / f"{toy}-whole")
    counts: Counter[str] = Counter()
    distinct: dict[tuple[str, str], int] = {}
    for at in range(first, operations + 1, every):
        place = work / f"{toy}-{at}"
        found, hit = trial(base, place, whole, arguments, at, by)
        counts["kills"] += hit
        for kind, what in found:
            counts[kind] += 1
            if (kind, what) not in distinct:
                distinct[kind, what] = at
                print(f"{toy}:{at:<5} {kind:11} {what}", flush=True)
        shutil.rmtree(place)
    print(f"{toy}: {operations} file operations, " + words(counts), flush=True)
    return counts, distinct


def words(counts: Counter[str]) -> str:
    """The counts in one line."""
    return ", ".join(f"{name} {counts[name]}" for name in ("kills", *FINDINGS))


def main() -> int:
    """The command."""
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--family", default=",".join(COMMANDS), help="separated by commas")
    reader.add_argument("--every", type=int, default=1, help="of so many operations one is hit")
    reader.add_argument("--first", type=int, default=1, help="operation to begin with")
    reader.add_argument("--signal", default="KILL", choices=("KILL", "TERM", "INT", "USR1"))
    reader.add_argument("--keep", type=Path, help="folder to work in, kept afterwards")
    chosen = reader.parse_args()
    load_all()
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as passing:
        work = chosen.keep.resolve() if chosen.keep else Path(passing)
        work.mkdir(parents=True, exist_ok=True)
        by = signal.Signals[f"SIG{chosen.signal}"]
        for toy in chosen.family.split(","):
            counts, _ = kill_family(toy, chosen.every, chosen.first, by, work)
            total.update(counts)
    print("all: " + words(total))
    return int(any(total[kind] for kind in FINDINGS))


if __name__ == "__main__":
    raise SystemExit(main())
