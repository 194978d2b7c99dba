"""A study as job arrays of SLURM, by submitit: pre-trainings, the runs after them, the report.

Needs no process that stays: the queue knows what waits for what, and jobs that are pre-empted or
run out of time are queued again and go on where they were.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from medssl.atomic import make_folder, write_text
from medssl.errors import MedsslError, UsageError
from medssl.pipeline.config import load_config
from medssl.pipeline.executors.order import REPORT, Handed, Order, arrays
from medssl.pipeline.executors.requeued import Requeued
from medssl.pipeline.study_failures import Record
from medssl.pipeline.study_tasks import study_folder

MINUTES = 240
"""Of a job, unless it is told: at its end a job is queued again, and goes on."""

SIGNAL_S = 120
"""Seconds before its end at which a job is told of it."""

SUBMITTED = "slurm.json"
"""In the study's folder: the jobs of its pieces."""

LOGS = "slurm"
"""In the study's folder: what jobs say, and what submitit keeps of them."""

_ENDLESS = 10_000
"""How often a job may run out of its time."""

_OWN = {"array", "dependency", "requeue", "signal", "job_name", "additional_parameters"}
_OF_GPUS = {"gres", "gpus_per_node", "gpus_per_task", "cpus_per_gpu", "mem_per_gpu"}


def submit(order: Order) -> Handed:
    """Submit what is missing and not queued yet; returns what was submitted and how to follow it.

    Raises:
        UsageError: SLURM or submitit is not here, or a setting is wrong.
        MedsslError: SLURM refuses the jobs.
    """
    if not order.work.tasks:
        return Handed()
    missing = [name for name in ("sbatch", "srun", "squeue") if shutil.which(name) is None]
    if missing:
        raise UsageError(
            f"{missing[0]} is not on this machine",
            "jobs are submitted where SLURM's commands are",
            "start it on the login node",
        )
    order.must_be_planned()
    queue = _Queue(order)
    known = queue.alive()
    tasks = [task for task in order.work.tasks if task.name not in known]
    lines = []
    if waiting := len(order.work.tasks) - len(tasks):
        lines.append(f"{waiting} pieces are queued or running already")
    ids = {task.name: known[task.name] for task in order.work.tasks if task.name in known}
    for group in arrays(tasks, set(ids)):
        for task in group.tasks:
            Record(study_folder(order.study), task.name).clear()
        after = _jobs([ids[name] for name in group.after if name in ids])
        commands = [order.command_of(task) for task in group.tasks]
        found = queue.put(commands, after)
        ids |= {task.name: one for task, one in zip(group.tasks, found, strict=True)}
        queue.remember(ids)
        lines.append(_line(f"{len(group.tasks)} {group.what}", _job(found[0]), " and ".join(after)))
    jobs = sorted({_job(one) for one in ids.values()}, key=int)
    if tasks:
        (report,) = queue.put([order.command_of(REPORT)], jobs, alone=True)
        lines.append(_line("the report", report, "all of them"))
        jobs.append(report)
    return Handed("\n".join([*lines, *_how_to_follow(order, jobs)]))


class _Queue:
    """The jobs of one study.

    Raises:
        UsageError: submitit is not installed.
    """

    def __init__(self, order: Order) -> None:
        try:
            import submitit  # noqa: F401
        except ImportError:
            raise UsageError(
                "submitit is not installed, by which jobs of SLURM are submitted",
                do="pip install 'medssl[slurm]'",
            ) from None
        self._order = order
        self._folder = study_folder(order.study)

    def put(
        self, commands: Sequence[Sequence[str]], after: Sequence[str], alone: bool = False
    ) -> list[str]:
        """Submit commands as an array; returns the id of each.

        Args:
            after: ids of jobs that have to end first, however they end.
            alone: it is small work that needs no GPU.

        Raises:
            UsageError: a setting is wrong.
            MedsslError: SLURM refuses them.
        """
        from submitit.core.utils import FailedJobError
        from submitit.slurm.slurm import SlurmExecutor

        make_folder(self._folder / LOGS)
        executor = SlurmExecutor(self._folder / LOGS, max_num_timeout=_ENDLESS)
        try:
            executor.update_parameters(**self._parameters(after, alone))
            with executor.batch():
                jobs = [executor.submit(Requeued(command)) for command in commands]
            return [job.job_id for job in jobs]
        except (FailedJobError, subprocess.CalledProcessError, OSError) as error:
            said = str(getattr(error, "stderr", "") or error).strip().splitlines()
            raise MedsslError(
                "SLURM refuses the jobs",
                said[-1] if said else "",
                "correct what --set says, or what the cluster allows",
            ) from None

    def _parameters(self, after: Sequence[str], alone: bool) -> dict[str, Any]:
        given = {key.replace("-", "_"): value for key, value in self._order.settings.items()}
        if wrong := sorted({*given} & _OWN):
            raise UsageError(
                f"--set {wrong[0]} cannot be given", "the jobs of a study have one of their own"
            )
        setup = [given.pop("setup")] if "setup" in given else []
        found: dict[str, Any] = {
            "job_name": f"medssl-{self._order.study.name}",
            "setup": ["export SUBMITIT_PREEMPT_SIGNAL=USR1", *setup],
            "time": minutes(given.pop("time", str(MINUTES))),
        }
        if self._order.threads is not None:
            found["cpus_per_task"] = self._order.threads
        if alone:
            given = {key: value for key, value in given.items() if key not in _OF_GPUS}
        elif gpus := self._gpus():
            found["gpus_per_node"] = gpus
        if self._order.jobs is not None:
            found["array_parallelism"] = self._order.jobs
        # USR1 and not submitit's USR2, of which a run that does not know it would die.
        own = {"signal": f"USR1@{SIGNAL_S}", "requeue": True}
        found["additional_parameters"] = {**given, **own}
        if after:
            found["dependency"] = ":".join(["afterany", *after])
        return found

    def _gpus(self) -> int:
        """GPUs of each run: one, unless it is told or the runs are to use none."""
        if self._order.gpus is not None:
            return self._order.gpus
        if _OF_GPUS & set(self._order.settings):
            return 0
        cells = (task.cell for task in self._order.work.tasks)
        configs = (load_config(self._order.study.pipeline, cell.overrides) for cell in cells)
        return int(any(config.pipeline.train.device != "cpu" for config in configs))

    def alive(self) -> dict[str, str]:
        """The id of each piece that is queued or running, by its name.

        Raises:
            MedsslError: SLURM does not answer.
        """
        try:
            known: Mapping[str, str] = json.loads((self._folder / SUBMITTED).read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        words = ["squeue", "--me", "--noheader", "--array", "--format=%i"]
        asked = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603
        if asked.returncode:
            said = asked.stderr.strip().splitlines()
            raise MedsslError("SLURM does not answer", said[-1] if said else "", "try again later")
        there = set(asked.stdout.split())
        return {name: one for name, one in known.items() if one in there}

    def remember(self, ids: Mapping[str, str]) -> None:
        """Keep which job each piece is."""
        write_text(self._folder / SUBMITTED, json.dumps(dict(ids), indent=1))


def minutes(text: str) -> int:
    """A time as SLURM takes it ("90", "12:00:00", "1-06", "1-06:30:00") in minutes.

    Raises:
        UsageError: it is none.
    """
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if found is None:
        raise UsageError(f"--set time={text} is no time", do="write e.g. 90, 12:00:00 or 1-06:00")
    days, first, second, third = (int(part or 0) for part in found.groups())
    if found[1] is not None:  # days-hours[:minutes[:seconds]]
        seconds = ((days * 24 + first) * 60 + second) * 60 + third
    elif found[4] is not None:  # hours:minutes:seconds
        seconds = (first * 60 + second) * 60 + third
    else:  # minutes[:seconds]
        seconds = first * 60 + second
    return max(1, -(-seconds // 60))


def _job(one: str) -> str:
    """The job that an element of an array belongs to."""
    return one.partition("_")[0]


def _jobs(ids: Sequence[str]) -> list[str]:
    """What to wait for: of several elements of an array, the whole array."""
    of: dict[str, list[str]] = {}
    for one in ids:
        of.setdefault(_job(one), []).append(one)
    return [mine[0] if len(mine) == 1 else job for job, mine in of.items()]


def _line(what: str, job: str, after: str) -> str:
    return f"{what} as job {job}" + (f", after {after}" if after else "")


def _how_to_follow(order: Order, jobs: Sequence[str]) -> list[str]:
    folder = study_folder(order.study)
    return [
        f"follow   squeue --jobs {','.join(jobs)}",
        f"logs     {folder / LOGS}",
        f"cancel   scancel {' '.join(jobs)}",
        f"summary  {folder / 'summary.md'}, once all have ended",
        "the same command submits again what failed or was cancelled, and nothing else",
    ]
