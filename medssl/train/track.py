"""What a stage leaves behind of its numbers: metrics.jsonl always, MLflow on top.

The journal on disk is the truth. MLflow follows it in batches (a call costs about 50 ms), and a
store that fails never ends a run: it is warned of once, retried later, and sent what it missed.
Case ids of the data spec may appear; what DICOM headers say about patients never does.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from medssl.atomic import make_folder, write_text
from medssl.environment import tracking_uri
from medssl.errors import Stopped
from medssl.train.journal import Entry, Journal, read_journal
from medssl.train.mlflow_run import MlflowRun, redacted

Status = Literal["FINISHED", "FAILED", "KILLED"]

METRICS, TRACKING = "metrics.jsonl", "tracking.json"
SEND_EVERY_S = 10.0
RETRY_AFTER_S = 300.0

logger = logging.getLogger(__name__)


class Tracker:
    """The run of one stage, as a context manager.

    A folder remembers its MLflow run in tracking.json and continues it. Only the first of several
    processes tracks; in the others every method does nothing.

    Args:
        run_dir: folder of the stage; made if it is missing.
        experiment: MLflow experiment: the pipeline's name.
        name: MLflow run: what was done, in a few words.
        parent: MLflow run to nest below.
        params: settings by name, flat.
        tags: facts by name, such as "split" or "code".
    """

    def __init__(
        self,
        run_dir: Path,
        experiment: str,
        name: str,
        parent: str | None,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> None:
        self._folder, self._experiment, self._name = run_dir, experiment, name
        self._parent, self._params = parent, params
        self._tags = {**tags, "folder": f"{run_dir.parent.name}/{run_dir.name}"}
        self._uri = tracking_uri()
        self._journal = Journal(run_dir / METRICS)
        self._rewound = self._warned = False
        self._active = _is_first_process()
        self._mlflow: MlflowRun | None = None
        self._pending: list[Entry] = []
        self._sent = 0
        self._due = 0.0

    def __enter__(self) -> Self:
        if self._active:
            make_folder(self._folder)
            self._attempt(self._open)
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
            self.finish("KILLED" if issubclass(kind, Stopped | KeyboardInterrupt) else "FAILED")

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
        if self._mlflow is None:
            return
        self._pending.append(entry)
        if time.monotonic() >= self._due:
            self._flush()

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Keep a file, or the content of a folder, in `folder` of MLflow's artifacts."""
        self._on_run(lambda run: run.artifact(path, folder))

    def tag(self, key: str, value: str) -> None:
        """Set a tag of the MLflow run."""
        self._on_run(lambda run: run.tag({key: value}))

    def finish(self, status: Status) -> None:
        """Send what is pending and close the MLflow run."""
        if self._pending:
            self._flush()
        self._on_run(lambda run: run.end(status))

    def _open(self) -> None:
        known = self._recall()
        mine = known.get("store") == redacted(self._uri)
        run = MlflowRun(self._uri, self._experiment, known["run_id"] if mine else None)
        run.begin(self._name, self._parent, self._params, self._tags)
        self._mlflow = run
        self._sent = known["sent"] if mine and run.run_id == known["run_id"] else 0
        self._pending = read_journal(self._folder / METRICS)[self._sent :]
        self._due = time.monotonic() + SEND_EVERY_S
        self._remember()

    def _rewind(self, step: int) -> None:
        kept = self._journal.rewind(step)
        self._pending = self._pending[: max(0, kept - self._sent)]
        self._sent = min(self._sent, kept)
        self._rewound = True

    def _flush(self) -> None:
        if self._on_run(lambda run: run.send(self._pending)):
            self._sent += len(self._pending)
            self._pending = []
            self._due = time.monotonic() + SEND_EVERY_S
            self._remember()
        else:
            self._due = time.monotonic() + RETRY_AFTER_S

    def _on_run(self, action: Callable[[MlflowRun], None]) -> bool:
        run = self._mlflow
        return run is not None and self._attempt(lambda: action(run))

    def _attempt(self, action: Callable[[], None]) -> bool:
        """Whether `action` on the store went well."""
        try:
            action()
        # A store may be a file, a database or a server with any driver: whatever it raises, the
        # training is worth more.
        except Exception as error:
            logger.debug("MLflow failed", exc_info=error)
            if not self._warned:
                logger.warning(
                    "MLflow at %s fails (%s); the run goes on, its numbers are in %s",
                    redacted(self._uri),
                    type(error).__name__,
                    self._folder / METRICS,
                )
            self._warned = True
            return False
        return True

    def _recall(self) -> dict[str, Any]:
        try:
            plain = json.loads((self._folder / TRACKING).read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        fits = isinstance(plain, dict) and isinstance(plain.get("sent"), int)
        return plain if fits and isinstance(plain.get("run_id"), str) else {}

    def _remember(self) -> None:
        plain = {
            "store": redacted(self._uri),
            "experiment": self._experiment,
            "run_id": self.run_id,
            "sent": self._sent,
        }
        write_text(self._folder / TRACKING, json.dumps(plain, indent=2))


def _is_first_process() -> bool:
    from torch import distributed

    alone = not distributed.is_available() or not distributed.is_initialized()
    return alone or distributed.get_rank() == 0
