"""A queue with SLURM's commands, which tests carry out by hand, and pre-empt.

`install` puts sbatch, srun, squeue, scancel and scontrol on the path; jobs wait in a folder until
`FakeSlurm.carry_out` starts them as SLURM would: what they depend on first, each in a process group
of its own, with SLURM's variables.
"""

import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol")

Preempt = Callable[[str], int | None]
"""(id of a job) -> the signal that it is to get now; None: not yet."""


def install(folder: Path, monkeypatch: "pytest.MonkeyPatch") -> "FakeSlurm":
    """The queue of a test."""
    (folder / "bin").mkdir(parents=True)
    for name in COMMANDS:
        command = folder / "bin" / name
        command.write_text(
            f'#!/bin/sh\nexec {sys.executable} -S {Path(__file__).resolve()} {name} "$@"\n'
        )
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(folder))
    return FakeSlurm(folder)


@dataclass
class FakeSlurm:
    """The queue.

    Attributes:
        log: ids of the elements of arrays in the order in which they began, with their exit codes.
    """

    folder: Path
    log: list[tuple[str, int]] = field(default_factory=list)

    def options(self, job: str) -> dict[str, str]:
        """What a job asked for in its script."""
        return dict(json.loads((self.folder / f"{job}.job").read_text())["options"])

    def jobs(self) -> list[str]:
        """Ids of all jobs that were submitted."""
        return sorted((path.stem for path in self.folder.glob("*.job")), key=int)

    def carry_out(self, preempt: Preempt = lambda job: None) -> None:
        """Carry out all that waits, one element after the other."""
        while (one := self._next()) is not None:
            self._start(one, preempt)

    def _next(self) -> str | None:
        states = read_states(self.folder)
        for one, state in states.items():
            after = self.options(one.partition("_")[0]).get("dependency", "")
            wanted = after.split(":")[1:]
            assert after.partition(":")[0] in ("", "afterany")
            others = [s for o, s in states.items() if o in wanted or o.partition("_")[0] in wanted]
            if state == "PENDING" and not {"PENDING", "RUNNING"} & set(others):
                return one
        return None

    def _start(self, one: str, preempt: Preempt) -> None:
        job, _, index = one.partition("_")
        script = json.loads((self.folder / f"{job}.job").read_text())["script"]
        more = {
            "SLURM_JOB_ID": job, "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
            "SLURM_NTASKS": "1", "SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_NODELIST": "here",
        }  # fmt: skip
        if index:
            more |= {"SLURM_ARRAY_JOB_ID": job, "SLURM_ARRAY_TASK_ID": index}
        write_state(self.folder, one, "RUNNING")
        process = subprocess.Popen(
            ["bash", script], env={**os.environ, **more}, start_new_session=True
        )
        sent = None
        while process.poll() is None:
            if sent is None and (sent := preempt(one)) is not None:
                # srun's step gets it, with all below; the script itself does not.
                for child in below(process.pid):
                    with suppress(ProcessLookupError):  # it has ended since it was listed
                        os.kill(child, sent)
            time.sleep(0.02)
        self.log.append((one, process.returncode))
        requeued = self.folder / f"{one}.requeued"
        again = requeued.exists() or sent == signal.SIGTERM  # which SLURM queues again itself
        requeued.unlink(missing_ok=True)
        if read_states(self.folder)[one] == "RUNNING":
            write_state(self.folder, one, "PENDING" if again else "ENDED")


def below(pid: int) -> list[int]:
    """All processes that a process has started, and those that these have."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True)
    pairs = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
    found, new = [], [pid]
    while new:
        new = [child for child, parent in pairs if parent in new]
        found += new
    return found


def read_states(folder: Path) -> dict[str, str]:
    """The state of each element, in the order of submission."""
    paths = sorted(folder.glob("*.state"), key=lambda path: [int(n) for n in path.stem.split("_")])
    return {path.stem: path.read_text() for path in paths}


def write_state(folder: Path, one: str, state: str) -> None:
    (folder / f"{one}.state").write_text(state)


def sbatch(folder: Path, arguments: list[str]) -> None:
    text = Path(arguments[0]).read_text()
    lines = re.findall(r"^#SBATCH --(.*)$", text, re.MULTILINE)
    options = {}
    for line in lines:
        name, _, value = line.partition("=")
        options[name] = shlex.split(value)[0] if value else ""
    if "refused" in options:
        sys.exit("sbatch: error: invalid partition specified")
    job = str(101 + len(list(folder.glob("*.job"))))
    kept = {"script": str(Path(arguments[0]).resolve()), "options": options}
    (folder / f"{job}.job").write_text(json.dumps(kept))
    last = re.match(r"0-(\d+)", options.get("array", ""))
    for one in [f"{job}_{n}" for n in range(int(last[1]) + 1)] if last else [job]:
        write_state(folder, one, "PENDING")
    sys.stdout.write(f"Submitted batch job {job}\n")


def srun(folder: Path, arguments: list[str]) -> None:
    names = {"%A": "SLURM_ARRAY_JOB_ID", "%a": "SLURM_ARRAY_TASK_ID", "%j": "SLURM_JOB_ID"}
    while arguments[0].startswith("--"):
        option = arguments.pop(0)
        if option in ("--output", "--error"):
            path = arguments.pop(0).replace("%t", "0")
            for mark, variable in names.items():
                path = path.replace(mark, os.environ.get(variable, ""))
            opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(opened, 1 if option == "--output" else 2)
    os.execvp(arguments[0], arguments)


def squeue(folder: Path, arguments: list[str]) -> None:
    states = read_states(folder)
    sys.stdout.write("".join(f"{one}\n" for one, state in states.items() if state != "ENDED"))


def scancel(folder: Path, arguments: list[str]) -> None:
    for one in read_states(folder):
        if one.partition("_")[0] in arguments or one in arguments:
            write_state(folder, one, "ENDED")


def scontrol(folder: Path, arguments: list[str]) -> None:
    word, one = arguments
    assert word == "requeue"
    (folder / f"{one}.requeued").touch()


if __name__ == "__main__":
    name, *rest = sys.argv[1:]
    globals()[name](Path(os.environ["FAKE_SLURM"]), rest)
