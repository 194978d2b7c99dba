"""Stages and their folders: what is finished and unchanged is not done again.

A stage's folder is `<runs>/<pipeline>/<stage>-<key>`; the key is a hash of everything that
influences its result. `done.json` in it says that it is finished.
"""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from medssl.atomic import discard, sweep, write_text
from medssl.errors import UsageError
from medssl.pipeline.config import flatten
from medssl.pipeline.lock import DATED, LOCK, alone_in, is_free
from medssl.pipeline.progress import QuietReporter
from medssl.train.fingerprint import code_version
from medssl.train.track import Tracker, deliver, is_delivered
from medssl.train.tracking import TRACKING

DONE = "done.json"
"""The mark of a finished stage."""


@dataclass(frozen=True)
class Stage:
    """One step of a run and where it leaves its results."""

    name: str
    key: str
    folder: Path

    @property
    def done(self) -> bool:
        """Whether its results are complete."""
        return (self.folder / DONE).is_file()

    @property
    def facts(self) -> dict[str, Any]:
        """What it was marked as complete with.

        Raises:
            UsageError: the mark is damaged.
        """
        return read_json(self.folder / DONE)

    def begin(self, resolved: Mapping[str, Any], split: str | None) -> None:
        """Write down the resolved configuration and, where there is one, the split, as JSON."""
        write_text(self.folder / "config.yaml", yaml.safe_dump(dict(resolved), sort_keys=False))
        if split is not None:
            write_text(self.folder / "split.json", split)

    def finish(self, **facts: Any) -> None:
        """Mark the stage as complete."""
        write_text(self.folder / DONE, json.dumps({**facts, "stage": self.name}, indent=2))

    def clear(self) -> None:
        """Forget all results, the mark first."""
        (self.folder / DONE).unlink(missing_ok=True)
        for path in self.folder.iterdir():
            if path.name not in (LOCK, DATED, TRACKING):
                discard(path)


@dataclass(frozen=True)
class Subject:
    """What all stages of a run have in common.

    Attributes:
        experiment: the pipeline's name.
        label: the run in a few words.
        resolved: the complete configuration as plain values.
        split: who has which role, as JSON; None where nothing is divided.
        tags: facts by name.
        datasets: what is learnt from and scored on: name, digest, source and profile of each.
        model: where the checkpoint is that the run leaves, and what kind it is.
        start: the checkpoint that it starts from.
        last_step: of its training.
    """

    experiment: str
    label: str
    resolved: Mapping[str, Any]
    split: str | None
    tags: Mapping[str, str]
    datasets: Sequence[Mapping[str, str]] = ()
    model: Path | None = None
    start: Path | None = None
    last_step: int = 0

    def entries(self, stage: Stage) -> dict[str, Any]:
        """What MLflow is told of a stage's data and models, as a `Tracker` takes it."""
        makes = self.model is not None and self.model.is_relative_to(stage.folder)
        used = self.start if makes else self.model
        return {
            "datasets": [{**one, "context": stage.name} for one in self.datasets],
            "model": {
                "name": _model_name(self.tags.get("method", "model")),
                "type": self.tags.get("family", ""),
                "step": self.last_step,
                "tags": {"checkpoint": str(self.model.relative_to(stage.folder))},
            }
            if makes and self.model is not None
            else None,
            "uses": [] if used is None else [os.path.relpath(used, stage.folder)],
        }


def _model_name(name: str) -> str:
    """A name as MLflow takes it."""
    return re.sub(r"[/:.%\"']", "_", name)


@dataclass(frozen=True)
class Within:
    """What a run belongs to in MLflow.

    Attributes:
        folder: of what stands above it, among the runs of the same pipeline.
        word: what it is called there.
        tags: facts by name.
    """

    folder: Path
    word: str
    tags: Mapping[str, str]


Work = Callable[[Tracker], Mapping[str, Any]]
"""What a stage does in its folder; returns facts for its mark."""


def carry_out(
    stage: Stage,
    subject: Subject,
    work: Work,
    reporter: QuietReporter,
    *,
    parent: Path | None = None,
    parts: Sequence[Stage] = (),
    resume: bool = True,
    intact: Callable[[], bool] = lambda: True,
) -> None:
    """Do what a stage has to do, unless it is done.

    Only one process at a time works on a stage; another waits, and then finds it done.

    Args:
        parent: folder beside its own of what this one belongs to.
        parts: stages that this one has carried out, once it is done.
        resume: false forgets what is there.
        intact: whether what a finished stage wrote is there as it was written.

    Raises:
        Stopped: a signal asked for it; the same call continues.
        MedsslError: the work failed, or the folder cannot be written to.
    """
    if stage.done and resume and intact():
        reporter.note(f"{subject.label}: {stage.name} is done already, in {stage.folder}")
        _settle(stage, parts, reporter)
        return
    with alone_in(stage.folder, reporter.note):
        if not (stage.done and resume and intact()):
            sweep(stage.folder)
            if not resume:
                stage.clear()
            reporter.note(f"{subject.label}: {stage.name} in {stage.folder}")
            stage.begin(subject.resolved, subject.split)
            tags = {"stage": stage.name, "code": code_version(), **subject.tags}
            name = subject.label if stage.name == "run" else f"{stage.name} {subject.label}"
            above, flat = parent.name if parent else None, flatten(subject.resolved)
            told = (subject.experiment, name, above, flat, tags)
            with Tracker(stage.folder, *told, **subject.entries(stage)) as tracker:
                facts = work(tracker)
                run_id = tracker.run_id
            stage.finish(run_id=run_id, **facts)
    _settle(stage, parts, reporter)


def _settle(stage: Stage, parts: Sequence[Stage], reporter: QuietReporter) -> None:
    """Give MLflow what it missed of a finished stage and its parts; take away a dead one's lock."""
    for one in (stage, *parts):
        if one.done and not (is_delivered(one.folder) and is_free(one.folder)):
            with alone_in(one.folder, reporter.note):
                run_id = None if is_delivered(one.folder) else deliver(one.folder)
                if run_id is not None:
                    one.finish(**{**one.facts, "run_id": run_id})


def read_json(path: Path, *numbers: str) -> dict[str, Any]:
    """A JSON object that medssl wrote.

    Args:
        numbers: its keys that must hold numbers by name.

    Raises:
        UsageError: it is missing or damaged.
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise _damaged(path) from None
    if not isinstance(plain, dict) or not all(_are_numbers(plain.get(key)) for key in numbers):
        raise _damaged(path)
    return plain


def read_numbers(path: Path) -> dict[str, dict[str, float]]:
    """Groups of numbers by name that medssl wrote; none without the file.

    Raises:
        UsageError: the file is damaged.
    """
    return read_json(path, *read_json(path)) if path.is_file() else {}


def read_config(folder: Path, *keys: str) -> dict[str, Any]:
    """The resolved configuration that a stage wrote down.

    Args:
        keys: dotted keys that it must have, e.g. "method.name".

    Raises:
        UsageError: it is missing or damaged.
    """
    path = folder / "config.yaml"
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
        for key in keys:
            reduce(lambda part, name: part[name], key.split("."), plain)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, yaml.YAMLError):
        raise _damaged(path) from None
    found: dict[str, Any] = plain
    return found


def _are_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(one, int | float | None) for one in value.values()
    )


def _damaged(path: Path) -> UsageError:
    return UsageError(
        f"{path} cannot be read",
        "it is damaged or was changed",
        f"delete the folder {path.parent} and run again",
    )
