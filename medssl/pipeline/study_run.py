"""Carrying out a study: each of its cells is an ordinary run, and finished ones are skipped.

A run that fails does not stop the others: it is named at the end with its reason, and the same
command tries it again.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from medssl.discreet import exit_code_of, kept_sentence_of, sentence_of
from medssl.errors import DataError, MedsslError, UsageError
from medssl.pipeline.executors.order import REPORT, Handed, Order
from medssl.pipeline.progress import QuietReporter, clock
from medssl.pipeline.study import Study, checked_cells, refuse_absent_devices
from medssl.pipeline.study_failures import Failure
from medssl.pipeline.study_report import write_report
from medssl.pipeline.study_tasks import (
    Task,
    Work,
    carry_out_task,
    failures_of,
    find_task,
    missing_work,
)
from medssl.pipeline.study_tracking import begin, begin_once
from medssl.registry import load

EXECUTORS = {
    "local": "medssl.pipeline.executors.local:carry_out",
    "slurm": "medssl.pipeline.executors.slurm:submit",
    "kubernetes": "medssl.pipeline.executors.kubernetes:write_manifests",
}
"""(order) -> `Handed`: what was carried out, or handed over."""


ELSEWHERE = ("kubernetes",)
"""Executors whose runs see other folders than this process."""

DONE_WITHIN = 2.0
"""Seconds in which only a run ends that was finished before."""


@dataclass(frozen=True)
class StudyEnd:
    """How a study ended.

    Attributes:
        said: where its report is, or what was handed over to a cluster.
        failures: of the runs that were to be carried out.
        tried: how many these were.
    """

    said: str
    failures: tuple[Failure, ...] = ()
    tried: int = 0

    def __str__(self) -> str:
        failed = (f"failed   {one.task}: {one.reason}" for one in self.failures)
        return "\n".join([self.said, *failed])

    def check(self) -> None:
        """Fail where a part of the study failed.

        Raises:
            MedsslError: a run failed; a UsageError or a DataError where all failures are such.
        """
        if not self.failures:
            return
        codes = {failure.exit_code for failure in self.failures}
        kind = next((one for one in (UsageError, DataError) if codes == {one.exit_code}), None)
        raise (kind or MedsslError)(
            f"{len(self.failures)} of {self.tried} runs of the study failed",
            do="mend what their lines say; the same command tries them again and keeps the others",
        )


def run_study(
    study: Study,
    reporter: QuietReporter,
    only: Sequence[str] = (),
    threads: int | None = None,
    command: str = "",
    *,
    executor: str = "local",
    jobs: int | None = None,
    gpus: int | None = None,
    words: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
) -> StudyEnd:
    """Carry out the runs that are missing, or hand them over to a cluster, and write the report.

    Args:
        only: e.g. ["arm=NAME,labels=4"]; values of one axis add up, axes narrow each other.
        threads: CPU threads of each run; does not change which run it is.
        command: what to print in the report as the way to repeat it.
        executor: a name of `EXECUTORS`.
        jobs: runs at once; None or 1 on this machine carries them out in this process.
        gpus: of each run.
        words: arguments of `medssl study` that name this study, for other processes.
        settings: of the cluster, by name.

    Raises:
        UsageError: a part that does not exist, settings that the executor does not know, or a run
            on this machine that wants a device that is not here.
        Stopped: a signal asked for it; the same call continues.
    """
    chosen = checked_cells(study, only)
    here = executor == "local" and (jobs or 1) == 1
    work = missing_work(study, chosen, apart=not here)
    if executor == "local":
        refuse_absent_devices(study, [task.cell for task in work.tasks])
    order = Order(study, work, tuple(words), reporter, command, jobs, gpus, threads, settings or {})
    if executor not in ELSEWHERE:
        tracker = begin(study)
        try:
            return _carried_out(order, executor, len(chosen))
        except BaseException as error:
            tracker.__exit__(type(error), error, None)
            raise
    return _carried_out(order, executor, len(chosen))


def _carried_out(order: Order, executor: str, count: int) -> StudyEnd:
    if executor == "local" and (order.jobs or 1) == 1 and (order.gpus or 1) == 1:
        failures = _one_after_another(order)
    else:
        _one_after_another(replace(order, work=Work(order.work.done, ())))
        handed: Handed = load(EXECUTORS[executor])(order)
        if handed.said:
            return StudyEnd(handed.said)
        failures = list(handed.failures)
    said = write_report(order.study, failures, order.command)
    return StudyEnd(said, tuple(failures), count)


def run_task(
    study: Study, word: str, reporter: QuietReporter, threads: int | None = None, command: str = ""
) -> str:
    """Carry out one piece of a study, as jobs of a cluster do; returns a word on it.

    Args:
        word: "run:3", "encoder:3", "fold:3.0", or "report" once all others have ended.

    Raises:
        UsageError: there is no such piece.
        Stopped: a signal asked for it; the same call continues.
        Exception: what the run raises.
    """
    if word == REPORT:
        failures = failures_of(study)
        return str(StudyEnd(write_report(study, failures, command), tuple(failures)))
    task = find_task(study, word)
    begin_once(study)
    carry_out_task(study, task, reporter, _how(threads), apart=True)
    return f"{task}: done"


def _one_after_another(order: Order) -> list[Failure]:
    """Carry out all pieces in this process, each announced with the time that the rest will take.

    Raises:
        Stopped: a signal asked for it.
    """
    # Finished runs too: MLflow may lack something of them, or a file of theirs may be gone.
    tasks = sorted(
        [*order.work.done, *order.work.tasks], key=lambda task: (task.number, task.kind == "run")
    )
    failures = list[Failure]()
    for task in announced(tasks, order.reporter):
        try:
            carry_out_task(order.study, task, order.reporter, _how(order.threads))
        except Exception as error:
            order.reporter.warn(f"{task}: {sentence_of(error)}")
            failures.append(Failure(str(task), kept_sentence_of(error), exit_code_of(error)))
    return failures


def announced(tasks: Sequence[Task], reporter: QuietReporter) -> Iterator[Task]:
    """The pieces; each run is announced with the time that the rest will take."""
    runs = [task for task in tasks if task.kind == "run"]
    spent, number = list[float](), 0
    for task in tasks:
        if task.kind == "run":
            number += 1
            # Runs that were done before take no time and say nothing about the others.
            known = [seconds for seconds in spent if seconds > DONE_WITHIN]
            left = sum(known) / len(known) * (len(runs) - number + 1) if known else None
            about = "" if left is None else f" (about {clock(left)} left)"
            reporter.note(f"run {number} of {len(runs)}: {task}{about}")
        since = time.perf_counter()
        yield task
        spent.append(time.perf_counter() - since)


def _how(threads: int | None) -> tuple[str, ...]:
    return () if threads is None else (f"train.threads={threads}",)
