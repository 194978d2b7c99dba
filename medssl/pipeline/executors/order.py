"""What an executor is asked for, and the command that carries out one piece of a study."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.study import Study
from medssl.pipeline.study_tasks import Failure, Task, Work

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
