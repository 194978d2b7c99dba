"""Where the numbers of a stage go: always to metrics.jsonl, and from there to MLflow.

The journal on disk is the truth. MLflow follows it in batches (a call costs about 50 ms), and a
store that fails never ends or holds up a run: it is warned of once and asked again later, and what
it missed is sent as soon as it answers, by a later command if need be. `tracking.json` says what it
has. Case ids of the data spec may appear; what DICOM headers say about patients never does.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from medssl.atomic import make_folder
from medssl.discreet import kept_sentence_of
from medssl.environment import process_rank, shown_uri, tracking_uri
from medssl.errors import Stopped
from medssl.stop import held
from medssl.train.jsonl_log import Entry, Journal, read_log
from medssl.train.mlflow_run import NOTE, MlflowRun, load_client
from medssl.train.mlflow_store import RETRY_AFTER_S, Store
from medssl.train.tracking import begin_run, model_in, recall, relative, remember, run_beside

Status = Literal["FINISHED", "FAILED", "KILLED"]
OPEN: Status = "KILLED"
"""How a run ended of which nothing more is heard; written down first, as a kill says nothing."""

METRICS = "metrics.jsonl"
SEND_EVERY_S = 10.0
PART = 200
"""Entries that are sent at once."""

FAILURE = "failure"
"""Tag of a failed run: why, in one sentence that names no file."""


class Tracker:
    """The run of one stage, as a context manager.

    A folder remembers its MLflow run in tracking.json and continues it. Only the first of several
    processes tracks; in the others every method does nothing.

    Args:
        run_dir: folder of the stage; made if it is missing.
        experiment: MLflow experiment: the pipeline's name.
        name: MLflow run: what was done, in a few words.
        parent: folder beside `run_dir` of the stage to nest below.
        params: settings by name, flat.
        tags: facts by name, such as "split" or "code".
        datasets: what the stage learns from or is scored on, as `MlflowRun.inputs` takes it.
        model: what it makes, as `MlflowRun.output` takes it; None: no model.
        uses: where models lie that it starts from or uses, relative to `run_dir`.
    """

    def __init__(
        self,
        run_dir: Path,
        experiment: str,
        name: str,
        parent: str | None,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        datasets: Sequence[Mapping[str, str]] = (),
        model: Mapping[str, Any] | None = None,
        uses: Sequence[str] = (),
    ) -> None:
        self._folder, self._store = run_dir, Store(tracking_uri(), run_dir / METRICS)
        self._told: dict[str, Any] = {
            "experiment": experiment,
            "name": name,
            "parent": parent,
            "params": dict(params),
            "tags": {**tags, "folder": f"{run_dir.parent.name}/{run_dir.name}"},
            "datasets": [dict(one) for one in datasets],
            "model": model,
            "uses": list(uses),
        }
        self._failed_before = False
        self._model_id: str | None = None
        self._used: set[str] = set()
        self._journal = Journal(run_dir / METRICS)
        self._rewound = self._complete = False
        self._active = process_rank() == 0
        self._mlflow: MlflowRun | None = None
        self._pending: list[Entry] = []
        self._owed: list[tuple[Path, str | None]] = []
        self._sent = 0
        self._due = 0.0
        self._status_owed: Status | Literal[""] = OPEN

    def __enter__(self) -> Self:
        if not self._active:
            return self
        make_folder(self._folder)
        known = self._known()
        self._owed = [(self._folder / path, where) for path, where in known["owed"]]
        self._sent = known["sent"]
        self._failed_before = FAILURE in known["tags"]
        try:
            self._remember()
            if not self._store.attempt(self._open):
                self._due = time.monotonic() + RETRY_AFTER_S
        except Stopped:
            self.finish("KILLED")
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.finish("FINISHED")
        else:
            stopped = issubclass(kind, Stopped | KeyboardInterrupt)
            if not stopped and error is not None:
                self._tell_failure(kept_sentence_of(error))
            self.finish("KILLED" if stopped else "FAILED")

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run; None where MLflow could not be reached."""
        return self._mlflow.run_id if self._mlflow else None

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Keep the numbers of a step.

        The first call forgets this and later steps of an earlier, killed life of the run.
        """
        if not self._active:
            return
        if not self._rewound:
            self._rewind(step)
        entry = self._journal.append(step, values)
        if self._mlflow is not None:
            self._pending.append(entry)
        if time.monotonic() >= self._due:
            self._flush()

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Keep a file, or the content of a folder, in `folder` of MLflow's artifacts."""
        if self._active:
            self._owed.append((path, folder))
            self._hand_over()

    def tag(self, key: str, value: str) -> None:
        """Set a tag of the MLflow run."""
        self._told["tags"][key] = value
        self._on_run(lambda run: run.tag({key: value}))

    def models(self, every: Mapping[str, Mapping[str, str]]) -> None:
        """Say which models stand for the run, as `MlflowRun.outputs` takes them."""
        self._beside(lambda run: run.outputs(every))

    def _tell_failure(self, why: str) -> None:
        """In a tag, which is a column of tables, and whole at the head of the run's page."""
        for key in (FAILURE, NOTE):
            self.tag(key, why)

    def finish(self, status: Status) -> None:
        """Send what is pending and close the MLflow run."""
        if not self._active:
            return
        try:
            if status == "FINISHED":
                if self._mlflow is None:
                    self._store.attempt(self._open)
                self._hand_over()
                self._tell_models()
                self._make_model()
        except Stopped:
            status = "KILLED"
            raise
        finally:
            with held():
                self._close(status)

    def _close(self, status: Status) -> None:
        if self._mlflow is not None:
            self._flush()
        self._status_owed = status
        if self._on_run(lambda run: run.end(status)):
            self._status_owed = ""
            self._owed = []  # what a store that answers refuses now, it will refuse later too
            self._complete = status == "FINISHED" and not self._pending
        self._remember()

    def _open(self) -> None:
        load_client()  # takes seconds, and may be interrupted
        with held():
            self._mlflow = self._store.ask(self._connect)
            self._sent = self._known()["sent"]
            self._pending = read_log(self._folder / METRICS)[self._sent :]
            self._due = time.monotonic() + SEND_EVERY_S
            self._tell_beside()

    def _tell_beside(self) -> None:
        """What a store may lack that is older than MLflow 3: without it a run is a run as well."""
        self._beside(lambda run: run.inputs(self._told["datasets"], ()))
        self._tell_models()
        if self._failed_before:
            for key in (FAILURE, NOTE):
                self._beside(partial(MlflowRun.untag, key=key))

    def _tell_models(self) -> None:
        """Which models it uses: at its begin, and at its end those that its parts have made."""
        found = (
            model_in((self._folder / path).resolve(), self._store.uri)
            for path in self._told["uses"]
        )
        models = {one for one in found if one is not None} - self._used
        if models:
            self._used |= models
            self._beside(lambda run: run.inputs((), sorted(models)))

    def _make_model(self) -> None:
        told, known = self._told["model"], self._known()
        self._model_id = known["model_id"]
        if told is None or self._model_id is not None:
            return

        def make(run: MlflowRun) -> None:
            self._model_id = run.output(told, self._told["params"])

        self._beside(make)

    def _beside(self, action: Callable[[MlflowRun], None]) -> None:
        """As `_on_run`, but what fails says nothing of the store."""
        run = self._mlflow
        if run is not None and not self._store.is_away:
            self._store.tried(lambda: self._store.ask(lambda: action(run)))

    def _connect(self) -> MlflowRun:
        """Reach the run; kept on disk at once, as whoever waits for it may lose patience."""
        parent = self._told["parent"]
        above = (
            None if parent is None else run_beside(self._folder.with_name(parent), self._store.uri)
        )
        return begin_run(self._folder, self._store.uri, self._told, above)

    def _rewind(self, step: int) -> None:
        kept = self._journal.rewind(step)
        self._pending = self._pending[: max(0, kept - self._sent)]
        self._rewound = True
        if kept < self._sent:
            self._sent = kept
            self._remember()

    def _flush(self) -> None:
        """Send what is pending; a store that was away is asked again."""
        if self._mlflow is None:
            self._store.attempt(self._open)
        while part := self._pending[:PART]:
            if not self._send(part):
                break
            self._sent += len(part)
            self._pending = self._pending[len(part) :]
            self._remember()
        failed = self._mlflow is None or self._pending
        self._due = time.monotonic() + (RETRY_AFTER_S if failed else SEND_EVERY_S)

    def _send(self, part: list[Entry]) -> bool:
        return self._on_run(lambda run: run.send(part))

    def _hand_over(self) -> None:
        """Copy the files that MLflow lacks."""
        run = self._mlflow
        if run is None or self._store.is_away:
            return
        # A file takes as long as it takes, and one that fails says nothing of the store.
        self._owed = [
            (path, where)
            for path, where in self._owed
            if path.exists() and not self._store.tried(partial(run.artifact, path, where))
        ]

    def _on_run(self, action: Callable[[MlflowRun], None]) -> bool:
        run = self._mlflow
        return run is not None and self._store.attempt(lambda: self._store.ask(lambda: action(run)))

    def _known(self) -> dict[str, Any]:
        """The content of tracking.json, as far as it is about the present store."""
        known = recall(self._folder)
        mine = known["store"] == shown_uri(self._store.uri)
        return known if mine else {**known, "run_id": None, "model_id": None, "sent": 0}

    def _remember(self) -> None:
        known = self._known()
        plain = {
            **self._told,
            "store": shown_uri(self._store.uri),
            "run_id": self.run_id or known["run_id"],
            "mark": known["mark"],
            "model_id": self._model_id or known["model_id"],
            "sent": self._sent,
            "owed": [[relative(path, self._folder), where] for path, where in self._owed],
            "complete": self._complete,
            "status_owed": self._status_owed,
        }
        remember(self._folder, plain)


_GIVEN = ("experiment", "name", "parent", "params", "tags", "datasets", "model", "uses")
"""What a record says that a tracker is made of."""


def deliver(folder: Path) -> str | None:
    """Send what MLflow missed of a finished stage; returns the id of its run, if something was.

    Costs nothing where nothing is missing.
    """
    known = recall(folder)
    if known["complete"]:
        return None
    with _again(folder, known) as tracker:
        pass
    return tracker.run_id


def end_left_open(folder: Path) -> None:
    """Tell MLflow how a stage ended that could not say so, and that nobody goes on with.

    Costs nothing where nothing is missing. Nobody else may be at work in the folder.
    """
    known = recall(folder)
    if known["status_owed"] and known["store"] in (None, shown_uri(tracking_uri())):
        tracker = _again(folder, known).__enter__()
        if why := known["tags"].get(FAILURE):
            tracker._tell_failure(why)
        tracker.finish(known["status_owed"])


def _again(folder: Path, known: Mapping[str, Any]) -> Tracker:
    """The tracker of a folder, from its record alone."""
    tracker = Tracker(folder, **{key: known[key] for key in _GIVEN})
    tracker._status_owed = known["status_owed"] or OPEN
    return tracker


def is_delivered(folder: Path) -> bool:
    """Whether MLflow has all of a finished stage."""
    return bool(recall(folder)["complete"])
