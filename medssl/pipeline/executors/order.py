"""What an executor is asked for, and the command that carries out one piece of a study."""

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from medssl.errors import UsageError
from medssl.pipeline.config import load_config
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.study import Study
from medssl.pipeline.study_failures import Failure
from medssl.pipeline.study_tasks import Task, Work

REPORT = "report"
"""The last piece: what `--task` takes to write the report."""


@dataclass(frozen=True)
class Handed:
    """What became of an order.

    Attributes:
        said: what a cluster was given and how to follow it; empty where all was carried out here.
        failures: of what was carried out here.
    """

    said: str = ""
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True)
class Order:
    """The work of a study, and how it is to be carried out.

    Attributes:
        work: what is yet to be done.
        words: arguments of `medssl study` that name this study.
        command: what the report says that repeats it.
        jobs: how many runs at once; None: the executor's own choice.
        gpus: GPUs of each run; None: the executor's own choice.
        threads: CPU threads of each run; None: as many as it finds.
        settings: of the cluster, by name.
    """

    study: Study
    work: Work
    words: tuple[str, ...]
    reporter: QuietReporter
    command: str = ""
    jobs: int | None = None
    gpus: int | None = None
    threads: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    def command_of(self, task: Task | str, *, python: str = sys.executable) -> list[str]:
        """The command of one piece: in a process of its own, or with one for each of its GPUs.

        Args:
            task: the piece, or what `--task` takes.
            python: interpreter that has medssl.
        """
        word = task if isinstance(task, str) else task.word
        start = [python, "-m"]
        if word != REPORT and (self.gpus or 1) > 1:
            each = ["--standalone", "--nproc-per-node", str(self.gpus)]
            # torchrun knows no SIGUSR1 and would die of it; its processes hear it themselves.
            ignore = ["env", "--ignore-signal=USR1"]
            start = [*ignore, python, "-m", "torch.distributed.run", *each, "-m"]
        quiet = [] if self.reporter.listens else ["--quiet"]
        threads = [] if self.threads is None else ["--threads", str(self.threads)]
        return [*start, "medssl", "study", *self.words, *threads, *quiet, "--task", word]

    def must_be_planned(self) -> None:
        """Refuse a study whose runs would each be planned for the machine that they get.

        Raises:
            UsageError: says which keys make the plan one for all.
        """
        for task in self.work.tasks:
            config = load_config(self.study.pipeline, task.cell.overrides)
            asked = getattr(config.pipeline, "plan", None)
            if asked is None or config.is_planned or (asked.memory and asked.device):
                continue
            raise UsageError(
                f"each run of the study {self.study.name} is planned for the machine that it gets",
                "machines of a cluster differ, and so would the runs",
                "say in the pipeline what to plan for, e.g. plan: {memory: 24GB, device: cuda}",
            )


@dataclass(frozen=True)
class Array:
    """Pieces that are submitted as one array.

    Attributes:
        after: names of the pieces that they wait for.
    """

    what: str
    tasks: tuple[Task, ...]
    after: tuple[str, ...] = ()


def arrays(tasks: Sequence[Task], known: Collection[str]) -> list[Array]:
    """The arrays in the order in which they are submitted.

    Args:
        known: names of pieces that are queued already.
    """
    coming = {*known, *(task.name for task in tasks)}
    groups: dict[tuple[str, str, bool], list[Task]] = {}
    for what, kind in (("pre-trainings", "encoder"), ("folds", "fold"), ("runs", "run")):
        for task in (task for task in tasks if task.kind == kind):
            encoder = task.after if task.after in coming else ""
            groups.setdefault((what, encoder, not coming.isdisjoint(task.folds)), []).append(task)
    return [
        Array(what, tuple(mine), _waits(mine, coming) if folded else (encoder,) * bool(encoder))
        for (what, encoder, folded), mine in groups.items()
    ]


def _waits(tasks: Sequence[Task], coming: Collection[str]) -> tuple[str, ...]:
    """The folds that runs wait for; these have waited for the pre-training."""
    return tuple(name for task in tasks for name in task.folds if name in coming)
