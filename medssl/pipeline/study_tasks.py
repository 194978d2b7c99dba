"""What a study has yet to do, in pieces that may run anywhere.

A piece is one run of the study, or what comes before it: the pre-training that some runs start
from, and the folds of a cross-validation. Whoever carries it out (this process, others beside it,
jobs of a cluster) leaves its failure in the study's folder, where the report finds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from medssl.discreet import exit_code_of, kept_sentence_of
from medssl.environment import runs_root
from medssl.errors import DataError, MedsslError, Stopped, UsageError
from medssl.pipeline.config import Config, load_config
from medssl.pipeline.folds import is_trained
from medssl.pipeline.plan import Cohort, Plan, cohort_of, make_plan
from medssl.pipeline.planned import with_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import (
    carry_out_plan,
    pretraining,
    run,
    train_fold,
    with_finished_encoder,
)
from medssl.pipeline.stage import Within
from medssl.pipeline.study import Cell, Study, cells
from medssl.pipeline.study_failures import FAILURES, UNENDED, Failure, Record
from medssl.section import digest

Kind = Literal["encoder", "fold", "run"]


@dataclass(frozen=True)
class Task:
    """A piece of a study.

    Attributes:
        kind: a run, or only the pre-training that it starts from, or one fold of it.
        number: place of the run among all runs of the study, as `cells` lists them.
        cell: the run.
        name: of the piece, in file names.
        after: name of the pre-training that has to come before it; empty where there is none.
        fold: which; of a run, None.
        folds: names of the folds of a run that have to come before it.
    """

    kind: Kind
    number: int
    cell: Cell
    name: str
    after: str = ""
    fold: int | None = None
    folds: tuple[str, ...] = ()

    @property
    def word(self) -> str:
        """What `--task` takes."""
        return f"{self.kind}:{self.number}" + ("" if self.fold is None else f".{self.fold}")

    def __str__(self) -> str:
        words = ", ".join(f"{axis} {value}" for axis, value in self.cell.words.items())
        if self.fold is not None:
            return f"fold {self.fold + 1} of {words}"
        return words if self.kind == "run" else f"the pre-training of {words}"


@dataclass(frozen=True)
class Work:
    """What a study has yet to do.

    Attributes:
        tasks: pre-trainings right before the first run that starts from them, folds before theirs.
        done: runs that were finished before.
    """

    tasks: tuple[Task, ...]
    done: tuple[Task, ...] = field(default=())


def study_folder(study: Study) -> Path:
    """Where the study's report goes."""
    name: str = load_config(study.pipeline).pipeline.name
    return runs_root() / name / f"study-{study.name}"


def missing_work(study: Study, chosen: Sequence[Cell], apart: bool = False) -> Work:
    """The pieces of the chosen runs that are yet to be done, and the finished runs.

    A run whose data or encoder are missing or wrong is yet to be done: it says so when it is
    carried out, and stops no other.

    Args:
        apart: whether folds are pieces of their own.
    """
    tasks, done, begun = list[Task](), list[Task](), set[str]()
    for number, cell in enumerate(cells(study)):
        if cell not in chosen:
            continue
        name, encoder = _run_name(cell), ""
        try:
            state = _state(study, cell)
        except MedsslError:
            state = _State()
        if state.finished:
            done.append(Task("run", number, cell, name))
            continue
        if state.inner is not None and not state.inner.last.done:
            encoder = encoder_name(state.inner)
            if encoder not in begun:
                tasks.append(Task("encoder", number, cell, encoder))
            begun.add(encoder)
        folds = [
            Task("fold", number, cell, _fold_name(cell, fold), encoder, fold)
            for fold in (state.folds if apart else ())
        ]
        tasks += [
            *folds,
            Task("run", number, cell, name, encoder, folds=tuple(fold.name for fold in folds)),
        ]
    return Work(tuple(tasks), tuple(done))


@dataclass(frozen=True)
class _State:
    """What is there of a run.

    Attributes:
        cohort: its cases; None where they are missing or wrong.
        inner: the pre-training that it starts from, if it has one.
        plan: what it does; None where that waits for the pre-training.
    """

    cohort: Cohort | None = None
    inner: Plan[Any, Any] | None = None
    plan: Plan[Any, Any] | None = None

    @property
    def finished(self) -> bool:
        """Whether all of it is there."""
        return self.plan is not None and all(stage.done for stage in self.plan.stages.values())

    @property
    def folds(self) -> list[int]:
        """The folds that are to be trained, where they can be trained apart."""
        every = range(0 if self.cohort is None else len(self.cohort.folds))
        if self.plan is None:
            return list(every)
        name, _ = self.plan.config.family.folded
        if not name or self.plan.stages[name].done:
            return []
        return [number for number in every if not is_trained(self.plan, number)]


def _state(study: Study, cell: Cell) -> _State:
    config = load_config(study.pipeline, cell.overrides)
    cohort = cohort_of(config)
    config = with_plan(config, cohort, QuietReporter())
    inner = pretraining(config, cohort)
    ready = with_finished_encoder(config, cohort) if inner is None or inner.last.done else None
    return _State(cohort, inner, None if ready is None else make_plan(ready, cohort))


def _run_name(cell: Cell) -> str:
    return f"run-{digest(list(cell.overrides))}"


def _fold_name(cell: Cell, fold: int) -> str:
    return f"{_folds_name(cell)}{fold}"


def _folds_name(cell: Cell) -> str:
    return f"fold-{digest(list(cell.overrides))}-"


def encoder_name(inner: Plan[Any, Any]) -> str:
    """The name of the piece that carries out a pre-training, whichever run asks for it."""
    return f"encoder-{inner.config.pipeline.name}-{inner.last.key}"


def find_task(study: Study, word: str) -> Task:
    """The piece that `--task` names, e.g. "run:3", "encoder:0" or "fold:3.1".

    Raises:
        UsageError: the study has none of that name.
    """
    grid, (kind, _, place) = cells(study), word.partition(":")
    number, dot, fold = place.partition(".")
    digits = [number, fold] if kind == "fold" else [number] if not dot else [""]
    known = kind in ("run", "encoder", "fold") and all(one.isdigit() for one in digits)
    if not known or int(number) >= len(grid):
        raise UsageError(
            f"the study {study.name} has no task '{word}'",
            f"its runs are run:0 to run:{len(grid) - 1}",
            "submit the study again: the tasks are its own",
        )
    run_number = int(number)
    cell = grid[run_number]
    if kind == "run":
        return Task("run", run_number, cell, _run_name(cell))
    if kind == "fold":
        return Task("fold", run_number, cell, _fold_name(cell, int(fold)), fold=int(fold))
    inner = _pretraining(load_config(study.pipeline, cell.overrides))
    if inner is None:
        raise UsageError(f"run {number} of the study {study.name} starts from no pre-training")
    return Task("encoder", run_number, cell, encoder_name(inner))


def _pretraining(config: Config[Any]) -> Plan[Any, Any] | None:
    """The pre-training that a run starts from; the file of planned keys is made if need be."""
    if config.start is None or config.start.pipeline is None:
        return None
    cohort = cohort_of(config)
    return pretraining(with_plan(config, cohort, QuietReporter()), cohort)


def carry_out_task(
    study: Study,
    task: Task,
    reporter: QuietReporter,
    more: Sequence[str] = (),
    apart: bool = False,
) -> None:
    """Do one piece; its failure is written down, too.

    Args:
        more: overrides that do not change which run it is, e.g. train.threads=2.
        apart: whether folds are pieces of their own: one that has failed is not trained again.

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
        if task.kind == "encoder":
            if inner is not None:
                carry_out_plan(inner, reporter)
        else:
            _refuse_failed(study, task, inner, apart)
            if task.fold is not None:
                train_fold(config, task.fold, reporter)
            else:
                tags = {"study": study.name, "arm": task.cell.arm}
                run(config, reporter, within=Within(study_folder(study), task.cell.arm, tags))
                for name in _records_of_folds(study, task):
                    Record(study_folder(study), name).clear()
    except (Stopped, Exception) as error:
        record.write(Failure(str(task), kept_sentence_of(error), exit_code_of(error)))
        raise
    record.clear()


def _refuse_failed(study: Study, task: Task, inner: Plan[Any, Any] | None, apart: bool) -> None:
    """Do not train an encoder or a fold again that could not be trained."""
    if inner is not None and not inner.last.done:
        failure = _failure_of(study, encoder_name(inner))
        if failure is not None:
            raise MedsslError(
                f"the pre-training {inner.config.pipeline.name} that it starts from failed",
                failure.reason,
            )
    if apart and task.kind == "run" and _records_of_folds(study, task):
        kinds = {kind.exit_code: kind for kind in (UsageError, DataError)}
        for fold in _state(study, task.cell).folds:
            failure = _failure_of(study, _fold_name(task.cell, fold))
            if failure is not None:
                kind = kinds.get(failure.exit_code, MedsslError)
                raise kind(f"its fold {fold + 1} failed", failure.reason)


def _failure_of(study: Study, name: str) -> Failure | None:
    """Why a piece failed for good, if it did and could say so."""
    failure = Record(study_folder(study), name).read()
    return failure if failure is not None and failure.told and not failure.stopped else None


def _records_of_folds(study: Study, task: Task) -> list[str]:
    """Names of the folds of a run that have not ended well."""
    folder = study_folder(study) / FAILURES
    return sorted(path.stem for path in folder.glob(f"{_folds_name(task.cell)}*.json"))


def failures_of(study: Study) -> list[Failure]:
    """Why pieces have not finished, as far as they said so: runs in their order."""
    folder = study_folder(study)
    names = [_run_name(cell) for cell in cells(study)]
    names += sorted(path.stem for path in (folder / FAILURES).glob("encoder-*.json"))
    found = (Record(folder, name).read() for name in names)
    return [failure for failure in found if failure is not None]
