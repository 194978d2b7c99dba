"""One run in an MLflow store.

MLflow reports usage to its makers unless told otherwise; nothing may leave a hospital, so it is
told before it is imported.
"""

import json
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from medssl.atomic import appearing, make_folder
from medssl.train.jsonl_log import Entry

Item = TypeVar("Item")

MARK = "begun_as"
"""Tag by which a run is found again if a kill came before its id was written down."""

_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""So that MLflow's pages show runs that train, and not conversations with language models."""

NOTE = "mlflow.note.content"
"""Tag that MLflow's page of a run shows as its description, in Markdown."""

COMPARED = (
    *(f"metrics.`test/score{end}`" for end in ("", "_low", "_high")),
    *(f"tags.`{name}`" for name in ("score", "method", "labels", "seed", "failure")),
)
"""Columns of MLflow's table of runs by which runs are compared, as its pages name them."""

_SQLITE = "sqlite:///"
_LONGEST_VALUE = 6000
_PER_CALL = {"metrics": 1000, "params": 100, "tags": 100}
"""How many of each MLflow takes in one call, at most."""


class MlflowRun:
    """Sends to one run. Every method raises whatever the store or the network raises.

    Attributes:
        run_id: MLflow's id of the run.
    """

    def __init__(self, uri: str, experiment: str, known: str | None) -> None:
        """Connect; creates an SQLite store, and the experiment, where they do not exist.

        Args:
            uri: an SQLite store keeps its artifacts in `mlartifacts` beside the database.
            experiment: its name; made if it is missing.
            known: id of the run to continue; a new one is begun by `begin` if the store lost it.
        """
        connect = load_client()
        with alone(uri):
            if is_file(uri) and not (database := _database(uri)).exists():
                # A kill must not leave half of the tables.
                with appearing(database) as beside:
                    connect(f"{_SQLITE}{beside}").get_experiment_by_name(experiment)
            self._client = connect(uri)
            self._experiment = _experiment(self._client, uri, experiment)
        self.run_id = known if known and _is_active(self._client, known) else ""
        self._has_params = bool(self.run_id)

    def adopt(self, mark: str) -> None:
        """Continue the run that was begun with this mark, where the store has it."""
        found = self._client.search_runs(
            [self._experiment], f"tags.{MARK} = '{mark}'", max_results=1
        )
        self.run_id = found[0].info.run_id if found else ""

    def begin(
        self, name: str, parent: str | None, params: Mapping[str, Any], tags: Mapping[str, str]
    ) -> None:
        """Continue the known run, or create it below the run `parent`.

        Parameters of a continued run stay: MLflow does not let them change.
        """
        from mlflow.entities import Param

        if self.run_id:
            self._client.update_run(self.run_id, status="RUNNING")
            self.tag(tags)
        else:
            nested = {"mlflow.parentRunId": parent} if parent else {}
            run = self._client.create_run(self._experiment, run_name=name, tags={**tags, **nested})
            self.run_id = run.info.run_id
        if not self._has_params:
            known = (Param(_name(k), str(value)[:_LONGEST_VALUE]) for k, value in params.items())
            self._log("params", list(known))

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        from mlflow.entities import RunTag

        self._log("tags", [RunTag(_name(key), str(value)) for key, value in tags.items()])

    def untag(self, key: str) -> None:
        """Take a tag away, if the run has it."""
        if key in self._client.get_run(self.run_id).data.tags:
            self._client.delete_tag(self.run_id, key)

    def inputs(self, datasets: Sequence[Mapping[str, str]], models: Sequence[str]) -> None:
        """Say what the run learns from or is scored on, and which models it starts from or uses.

        Args:
            datasets: name, digest, context, source and profile (JSON) of each.
            models: MLflow's ids.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelInput

        given = [
            DatasetInput(
                Dataset(one["name"], one["digest"], "medssl", one["source"], None, one["profile"]),
                [InputTag("mlflow.data.context", one["context"])],
            )
            for one in datasets
        ]
        used = [LoggedModelInput(one) for one in models]
        if given or used:
            self._client.log_inputs(self.run_id, given or None, used or None)

    def output(self, told: Mapping[str, Any], params: Mapping[str, Any]) -> str:
        """Say which model the run has made; returns MLflow's id of it.

        Args:
            told: name, type, step, and tags by name.
            params: its settings.
        """
        from mlflow.entities import LoggedModelOutput

        plain = {_name(key): str(value)[:_LONGEST_VALUE] for key, value in params.items()}
        made = self._client.create_logged_model(
            self._experiment, told["name"], self.run_id, dict(told["tags"]), plain, told["type"]
        )
        self._client.finalize_logged_model(made.model_id, "READY")
        self._client.log_outputs(self.run_id, [LoggedModelOutput(made.model_id, told["step"])])
        return str(made.model_id)

    def outputs(self, every: Mapping[str, Mapping[str, str]]) -> None:
        """Say which models, without files, stand for the run; those it has get new tags alone.

        Args:
            every: tags by the model's name.
        """
        made = self._client.get_run(self.run_id).outputs
        known = made.model_outputs if made else []
        models = [self._client.get_logged_model(one.model_id) for one in known]
        has = {model.name: model.model_id for model in models}
        for name, tags in every.items():
            plain = _model_name(name)
            if plain in has:
                self._client.set_logged_model_tags(has[plain], dict(tags))
            else:
                self.output({"name": plain, "type": "arm of a study", "step": 0, "tags": tags}, {})

    def send(self, entries: Sequence[Entry]) -> None:
        """Send numbers; those that were sent before are not doubled."""
        from mlflow.entities import Metric

        metrics = [
            Metric(_name(name), value, round(entry.time * 1000), entry.step)
            for entry in entries
            for name, value in entry.values.items()
        ]
        self._log("metrics", metrics)

    def artifact(self, path: Path, folder: str | None) -> None:
        """Copy a file, or what a folder holds, to `folder` of the run's artifacts."""
        copy = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        copy(self.run_id, str(path), folder)

    def end(self, status: str) -> None:
        """Close the run."""
        self._client.set_terminated(self.run_id, status)

    def _log(self, kind: str, items: Sequence[Any]) -> None:
        for part in _parts(items, _PER_CALL[kind]):
            self._client.log_batch(self.run_id, **{kind: part})


@contextmanager
def alone(uri: str) -> Iterator[None]:
    """One process at a time: two that make the tables of one SQLite file at once ruin it."""
    if not is_file(uri):
        yield
        return
    import fcntl

    database = _database(uri)
    make_folder(database.parent)
    with database.with_name(f"{database.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def load_client() -> Any:
    """MLflow's client class, with MLflow kept quiet and impatient."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["DO_NOT_TRACK"] = "true"
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    # MLflow's own patience, seven tries of two minutes, would hold up training for a dead server.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    from mlflow import MlflowClient

    # Their messages may hold the address of a database with its password; failures are told by us.
    for name in ("mlflow", "alembic", "sqlalchemy", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return MlflowClient


def is_file(uri: str) -> bool:
    """Whether a store is an SQLite file."""
    return uri.startswith(_SQLITE)


def _experiment(client: Any, uri: str, name: str) -> str:
    """Id of the experiment; on a server, another process may create it at the same moment."""
    from mlflow import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            tags = {**_KIND, **_view("scores", COMPARED)}
            return str(client.create_experiment(name, _artifacts(uri, name), tags))
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def _view(name: str, columns: Sequence[str]) -> dict[str, str]:
    """A tag of an experiment that makes a saved view of its table of runs, as MLflow 3 reads it."""
    now, state = round(time.time() * 1000), json.dumps({"selectedColumns": columns})
    kept = {"name": name, "createdAt": now, "updatedAt": now, "state": state}
    return {f"mlflow.sharedViewState.{name}": json.dumps(kept)}


def _artifacts(uri: str, experiment: str) -> str | None:
    """Where artifacts go; a server decides for itself."""
    if not is_file(uri):
        return None
    return (_database(uri).parent / "mlartifacts" / experiment).as_uri()


def _database(uri: str) -> Path:
    """The file of an SQLite store."""
    return Path(uri.removeprefix(_SQLITE)).absolute()


def _is_active(client: Any, run_id: str) -> bool:
    """Whether the store still has the run; raises where the store does not answer."""
    from mlflow import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise


def _name(text: str) -> str:
    """`text` with what MLflow refuses in names replaced by underscores."""
    return re.sub(r"[^\w./ :-]", "_", text)


def _model_name(text: str) -> str:
    """`text` with what MLflow refuses in names of models replaced by underscores."""
    return re.sub(r"[/:.%\"']", "_", text)


def _parts(items: Sequence[Item], length: int) -> Iterator[list[Item]]:
    remaining = iter(items)
    while part := list(islice(remaining, length)):
        yield part
