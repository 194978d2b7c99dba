"""What a study has yet to do, in pieces that may run anywhere, and what became of each.

A piece is one run of the study, or the pre-training that some of its runs start from, which comes
first. Whoever carries it out (this process, others beside it, jobs of a cluster) leaves its failure
in the study's folder, where the report finds it.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from medssl.atomic import write_text
from medssl.discreet import exit_code_of, kept_sentence_of
from medssl.environment import runs_root
from medssl.errors import MedsslError, Stopped, UsageError
from medssl.pipeline.config import Config, load_config
from medssl.pipeline.plan import Plan, cohort_of, make_plan
from medssl.pipeline.planned import with_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import carry_out_plan, pretraining, run, with_finished_encoder
from medssl.pipeline.stage import Within
from medssl.pipeline.study import Cell, Study, cells
from medssl.section import digest

Kind = Literal["encoder", "run"]

FAILURES = "failures"
"""Folder of a study's folder: what failed and why, a file for each piece."""


@dataclass(frozen=True)
class Task:
    """A piece of a study.

    Attributes:
        kind: a run, or only the pre-training that it starts from.
        number: place of the run among all runs of the study, as `cells` lists them.
        cell: the run.
        name: of the piece, in file names.
        after: name of the pre-training that has to come before it; empty where there is none.
    """

    kind: Kind
    number: int
    cell: Cell
    name: str
    after: str = ""

    @property
    def word(self) -> str:
        """What `--task` takes."""
        return f"{self.kind}:{self.number}"

    def __str__(self) -> str:
        words = ", ".join(f"{axis} {value}" for axis, value in self.cell.words.items())
        return words if self.kind == "run" else f"the pre-training of {words}"


@dataclass(frozen=True)
class Failure:
    """Why a piece did not finish.

    Attributes:
        task: which, in words.
        reason: one sentence that names no file.
        exit_code: what its command ended with; `UNENDED` where it has not said.
    """

    task: str
    reason: str
    exit_code: int

    @property
    def told(self) -> bool:
        """Whether the piece itself said why."""
        return self.exit_code != UNENDED

    @property
    def stopped(self) -> bool:
        """Whether it was asked to stop, and goes on where it was."""
        return self.exit_code == Stopped.exit_code


UNENDED = -1
"""What stands for an exit code while a piece has begun and not ended."""


@dataclass(frozen=True)
class Work:
    """What a study has yet to do.

    Attributes:
        tasks: pre-trainings right before the first run that starts from them.
        done: runs that were finished before.
    """

    tasks: tuple[Task, ...]
    done: tuple[Task, ...] = field(default=())


def study_folder(study: Study) -> Path:
    """Where the study's report goes."""
    name: str = load_config(study.pipeline).pipeline.name
    return runs_root() / name / f"study-{study.name}"


def missing_work(study: Study, chosen: Sequence[Cell]) -> Work:
    """The pieces of the chosen runs that are yet to be done, and the finished runs.

    A run whose data or encoder are missing or wrong is yet to be done: it says so when it is
    carried out, and stops no other.
    """
    tasks, done, begun = list[Task](), list[Task](), set[str]()
    for number, cell in enumerate(cells(study)):
        if cell not in chosen:
            continue
        name, encoder = _run_name(cell), ""
        try:
            inner, finished = _state(study, cell)
        except MedsslError:
            inner, finished = None, False
        if finished:
            done.append(Task("run", number, cell, name))
            continue
        if inner is not None and not inner.last.done:
            encoder = encoder_name(inner)
            if encoder not in begun:
                tasks.append(Task("encoder", number, cell, encoder))
            begun.add(encoder)
        tasks.append(Task("run", number, cell, name, encoder))
    return Work(tuple(tasks), tuple(done))


def _state(study: Study, cell: Cell) -> tuple[Plan[Any, Any] | None, bool]:
    """The pre-training of a run, if it has one, and whether the run is finished."""
    config = load_config(study.pipeline, cell.overrides)
    cohort = cohort_of(config)
    config = with_plan(config, cohort, QuietReporter())
    inner = pretraining(config, cohort)
    ready = with_finished_encoder(config, cohort) if inner is None or inner.last.done else None
    if ready is None:
        return inner, False
    return inner, all(stage.done for stage in make_plan(ready, cohort).stages.values())


def _run_name(cell: Cell) -> str:
    return f"run-{digest(list(cell.overrides))}"


def encoder_name(inner: Plan[Any, Any]) -> str:
    """The name of the piece that carries out a pre-training, whichever run asks for it."""
    return f"encoder-{inner.config.pipeline.name}-{inner.last.key}"


def find_task(study: Study, word: str) -> Task:
    """The piece that `--task` names, e.g. "run:3" or "encoder:0".

    Raises:
        UsageError: the study has none of that name.
    """
    kind, _, number = word.partition(":")
    grid = cells(study)
    if kind not in ("run", "encoder") or not number.isdigit() or int(number) >= len(grid):
        raise UsageError(
            f"the study {study.name} has no task '{word}'",
            f"its runs are run:0 to run:{len(grid) - 1}",
            "submit the study again: the tasks are its own",
        )
    cell = grid[int(number)]
    name = _run_name(cell)
    if kind == "run":
        return Task("run", int(number), cell, name)
    inner = _pretraining(load_config(study.pipeline, cell.overrides))
    if inner is None:
        raise UsageError(f"run {number} of the study {study.name} starts from no pre-training")
    return Task("encoder", int(number), cell, encoder_name(inner))


def _pretraining(config: Config[Any]) -> Plan[Any, Any] | None:
    """The pre-training that a run starts from; the file of planned keys is made if need be."""
    if config.start is None or config.start.pipeline is None:
        return None
    cohort = cohort_of(config)
    return pretraining(with_plan(config, cohort, QuietReporter()), cohort)


def carry_out_task(
    study: Study, task: Task, reporter: QuietReporter, more: Sequence[str] = ()
) -> None:
    """Do one piece; its failure is written down, too.

    Args:
        more: overrides that do not change which run it is, e.g. train.threads=2.

    Raises:
        Stopped: a signal asked for it; the same call continues.
        Exception: what the run raises.
    """
    record = Record(study_folder(study), task.name)
    # What is killed can say nothing, so that is said before.
    unsaid = "it has begun and not ended: it runs yet, or was killed, as where memory runs out"
    record.write(Failure(str(task), unsaid, UNENDED))
    try:
        config = load_config(study.pipeline, (*task.cell.overrides, *more))
        inner = _pretraining(config)
        if task.kind == "run":
            if inner is not None and not inner.last.done:
                _refuse_failed(study, inner)
            within = Within(
                study_folder(study), task.cell.arm, {"study": study.name, "arm": task.cell.arm}
            )
            run(config, reporter, within=within)
        elif inner is not None:
            carry_out_plan(inner, reporter)
    except (Stopped, Exception) as error:
        record.write(Failure(str(task), kept_sentence_of(error), exit_code_of(error)))
        raise
    record.clear()


def _refuse_failed(study: Study, inner: Plan[Any, Any]) -> None:
    """Do not train an encoder again, run for run, that could not be trained."""
    failure = Record(study_folder(study), encoder_name(inner)).read()
    if failure is not None and failure.told and not failure.stopped:
        raise MedsslError(
            f"the pre-training {inner.config.pipeline.name} that it starts from failed",
            failure.reason,
        )


class Record:
    """The failure of a piece, kept in the study's folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / FAILURES / f"{name}.json"

    def clear(self) -> None:
        """Forget it: the piece is tried again."""
        with suppress(FileNotFoundError):
            self._path.unlink()

    def write(self, failure: Failure) -> None:
        """Keep it; on a full disk the piece's own failure is worth more."""
        with suppress(OSError, MedsslError):
            write_text(self._path, json.dumps(vars(failure), indent=1))

    def read(self) -> Failure | None:
        """What was kept; None where nothing was, or nothing that can be read."""
        try:
            plain: Mapping[str, Any] = json.loads(self._path.read_bytes())
            return Failure(str(plain["task"]), str(plain["reason"]), int(plain["exit_code"]))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None


def failures_of(study: Study) -> list[Failure]:
    """Why pieces have not finished, as far as they said so: runs in their order."""
    folder = study_folder(study)
    names = [_run_name(cell) for cell in cells(study)]
    names += sorted(path.stem for path in (folder / FAILURES).glob("encoder-*.json"))
    found = (Record(folder, name).read() for name in names)
    return [failure for failure in found if failure is not None]
