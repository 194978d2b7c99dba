"""A command in a process that is forked, watched and perhaps killed; then the same again.

The parent has imported everything and runs no threads, so that a trial costs only its own work.
"""

import os
import shutil
import signal
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from tests.drivers.killing.compare import differences, leftovers
from tests.drivers.killing.hook import Counter
from tests.drivers.toys import TOYS

PATIENCE_S = 180.0
STOPPED = 75
"""Exit code of a command that was asked to stop and can be continued."""


@dataclass(frozen=True)
class Command:
    """What is killed.

    Attributes:
        toy: the data set that it runs on.
        words: of the command line.
        needs: a command whose checkpoint it uses.
    """

    toy: str
    words: tuple[str, ...]
    needs: str = ""


SCANS = "../shared/data/balls"
"""Of all trials the same files, as paths are remembered."""

OFTEN = ("train.checkpoint_every=2", "train.validate_every=2", "-q")

COMMANDS = {
    "train": Command("balls", ("train", "balls", "train.steps=4", *OFTEN)),
    "segment": Command("balls", ("run", "balls", "method=tracoco", "train.steps=4", *OFTEN)),
    "grade": Command("joints", ("run", "joints", "train.steps=4", "evaluate.overlays=0", *OFTEN)),
    "bags": Command("slides", ("run", "bags", "train.epochs=2", "-q")),
    "slide": Command("slides", ("run", "slides", "train.epochs=1", "-q")),
    "pretrain": Command("heads", ("pretrain", "encoder", *OFTEN)),
    "predict": Command(
        "balls",
        (
            "predict",
            "checkpoint",
            f"{SCANS}/c0.nii.gz",
            f"{SCANS}/c1.nii.gz",
            "-o",
            "out",
            "-q",
        ),
        needs="train",
    ),
    "manifest": Command(
        "balls",
        ("predict", "checkpoint", "--manifest", "../shared/list.txt", "-o", "out", "-q"),
        needs="train",
    ),
}


@dataclass
class Report:
    """What one trial found wrong, in words."""

    operation: int
    exit_code: str = ""
    hang: str = ""
    different: list[str] = field(default_factory=list)
    partial: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.exit_code or self.hang or self.different or self.partial or self.left)


class Trials:
    """All trials of one command.

    Args:
        work: an empty folder.
        store: an MLflow database with its tables made, which takes seconds; copied for each trial.
    """

    def __init__(self, name: str, work: Path, store: Path | None) -> None:
        self._command, self._work, self._store = COMMANDS[name], work, store
        self._reference = work / "unbroken"

    def unbroken(self) -> int:
        """Run the command twice without a kill; returns how many operations there are.

        Raises:
            RuntimeError: it fails, or the two differ.
        """
        second = self._work / "unbroken_too"
        counts = []
        for place in (self._reference, second):
            self._prepare(place)
            code, count = _run(place, self._command.words)
            counts.append(count)
            if code:
                raise RuntimeError(f"without a kill: exit code {code}\n{_log(place)}")
        if odd := differences(second, self._reference) + leftovers(second, self._reference):
            raise RuntimeError(f"two unbroken runs differ in {', '.join(odd[:5])}")
        shutil.rmtree(second)
        return min(counts)

    def trial(self, operation: int, number: int) -> Report:
        """Send signal `number` before an operation, run the command again, compare."""
        place, report = self._work / f"kill{operation}_{number}", Report(operation)
        self._prepare(place)
        code, _ = _run(place, self._command.words, operation, number)
        finished = self._finished(place)
        if code is None:
            report.hang = f"after the signal, not done in {PATIENCE_S:g} s"
        elif code != (-number if number == signal.SIGKILL else STOPPED) and not (
            code == 0 and finished
        ):
            report.exit_code = f"{code} instead of {STOPPED}: {_last_line(place)}"
        report.partial = self._misread(place)
        code, _ = _run(place, self._command.words)
        if code is None:
            report.hang = f"run again, not done in {PATIENCE_S:g} s"
        elif code:
            report.exit_code = f"run again: {code}: {_last_line(place)}"
        report.different = differences(place, self._reference)
        report.left = leftovers(place, self._reference)
        shutil.rmtree(place)
        _log_path(place).unlink(missing_ok=True)
        return report

    def _prepare(self, place: Path) -> None:
        shutil.rmtree(place, ignore_errors=True)
        shared = self._work / "shared"
        if not shared.is_dir():
            TOYS[self._command.toy](shared)
            scans = sorted(shared.glob("data/balls/c?.nii.gz"))
            (shared / "list.txt").write_text("".join(f"{scan}\n" for scan in scans))
        for folder in ("data_specs", "pipelines"):
            shutil.copytree(shared / folder, place / folder)
        if self._command.needs:
            kept = self._work / "checkpoint"
            if not kept.is_dir():
                other = self._work / "other"
                shutil.copytree(place, other)
                code, _ = _run(other, COMMANDS[self._command.needs].words)
                if code:
                    raise RuntimeError(f"exit code {code}\n{_log(other)}")
                next((other / "runs").glob("*/train-*/checkpoint/last")).rename(kept)
            shutil.copytree(kept, place / "checkpoint")
        if self._store is not None:
            (place / "runs").mkdir()
            shutil.copyfile(self._store, place / "runs" / "mlflow.db")

    def _finished(self, place: Path) -> bool:
        """Whether the command was through before the signal told."""
        return not differences(place, self._reference)

    def _misread(self, place: Path) -> list[str]:
        """Files under their last names that are not whole: they would be taken for done."""
        from tests.drivers.fuzzing.watch import half_written

        passing = (".part", ".old")
        return [
            str(path.relative_to(place))
            for path in sorted(place.rglob("*"))
            if path.is_file()
            and not any(end in str(path.relative_to(place)) for end in passing)
            and not path.name.startswith(".")
            and half_written(path)
        ]


def make_store(path: Path) -> Path:
    """An MLflow database with its tables, by MLflow itself in a process of its own."""
    child = os.fork()
    if not child:
        _be_quiet(path.with_suffix(".log"))
        from mlflow import MlflowClient

        MlflowClient(f"sqlite:///{path}").search_experiments()
        os._exit(0)
    os.waitpid(child, 0)
    return path


def _run(
    place: Path, words: tuple[str, ...], operation: int | None = None, number: int = signal.SIGKILL
) -> tuple[int | None, int]:
    """Exit code (minus the signal that ended it; None: it hung) and operations of a command."""
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        os.close(receive)
        _be(place, words, operation, number, send)
    os.close(send)
    status = _wait(child)
    with os.fdopen(receive) as told:
        count = int(told.read() or 0)
    return (None if status is None else os.waitstatus_to_exitcode(status)), count


def _be(place: Path, words: tuple[str, ...], operation: int | None, number: int, send: int) -> None:
    """The forked process; never returns."""
    code: int | str | None = 1
    try:
        _be_quiet(_log_path(place))
        os.chdir(place)
        os.environ |= {
            "MEDSSL_DATA": str(place.with_name("shared") / "data"),
            "MEDSSL_CACHE": str(place / "cache"),
        }
        counter = Counter(place, operation, number)
        counter.install()
        sys.argv = ["medssl", *words]
        from medssl.cli import main

        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code
        os.write(send, str(counter.count).encode())
    except Exception:  # the verb's own are told by `main`
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def _wait(child: int) -> int | None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _be_quiet(log: Path) -> None:
    file = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(file, stream)


def _log_path(place: Path) -> Path:
    return place.with_name(f"{place.name}.log")


def _log(place: Path) -> str:
    path = _log_path(place)
    return path.read_text(errors="replace") if path.is_file() else ""


def say(place: Path) -> str:
    """The last words of the processes of a trial, for a message."""
    logs = sorted(place.with_name(f"{place.name}-logs").glob("err-*.txt"))
    return " | ".join(log.read_text(errors="replace")[-300:] for log in logs)


def _last_line(place: Path) -> str:
    lines = [line for line in _log(place).splitlines() if line.strip()]
    return lines[-1][:160] if lines else "no word"
