"""tracking.json: what a stage's folder knows of its MLflow run, and what MLflow still lacks.

Enough to begin the run and to send everything from the folder alone, at any later time.
"""

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medssl.atomic import write_text
from medssl.environment import shown_uri
from medssl.train.mlflow_run import MARK, MlflowRun

TRACKING = "tracking.json"


def run_beside(folder: Path, uri: str) -> str | None:
    """MLflow's id of the run of another stage, which is begun if need be; None if it has none."""
    known = recall(folder)
    if known["store"] == shown_uri(uri) and known["run_id"]:
        return str(known["run_id"])
    return begin_run(folder, uri, known, None).run_id if known["name"] else None


def begin_run(folder: Path, uri: str, told: Mapping[str, Any], above: str | None) -> MlflowRun:
    """The run of a stage, continued or new, and written down in its folder."""
    known, store = recall(folder), shown_uri(uri)
    mine = known["run_id"] if known["store"] == store else None
    run = MlflowRun(uri, told["experiment"], mine)
    if not run.run_id:
        # Written down first: a kill between the two would leave a run that nobody ends.
        mark = known["mark"] or uuid.uuid4().hex
        if known["mark"]:
            run.adopt(mark)
        known = {**known, "mark": mark}
        remember(folder, {**known, **told})
        told = {**told, "tags": {**told["tags"], MARK: mark}}
    run.begin(told["name"], above, told["params"], told["tags"])
    if run.run_id != mine:
        known = {**known, "model_id": None}
    sent = known["sent"] if run.run_id == mine else 0
    remember(folder, {**known, **told, "store": store, "run_id": run.run_id, "sent": sent})
    return run


def recall(folder: Path) -> dict[str, Any]:
    """The content of tracking.json; if missing or damaged, content with nothing to send."""
    nothing: dict[str, Any] = {
        "experiment": "", "name": "", "parent": None, "params": {}, "tags": {},
        "store": None, "run_id": None, "mark": None, "sent": 0, "owed": [], "complete": True,
        "datasets": [], "model": None, "uses": [], "model_id": None, "status_owed": "",
    }  # fmt: skip
    try:
        plain = json.loads((folder / TRACKING).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return nothing
    if not isinstance(plain, dict) or not all(
        isinstance(plain.get(key), str | None) for key in ("run_id", "mark", "model_id")
    ):
        return nothing
    kinds = {key: type(value) for key, value in nothing.items() if value is not None}
    found = nothing | plain
    fits = all(isinstance(found[key], kind) for key, kind in kinds.items())
    pairs = fits and all(isinstance(one, list) and len(one) == 2 for one in found["owed"])
    return found if pairs else nothing


def remember(folder: Path, plain: Mapping[str, Any]) -> None:
    """Write down what is known, unless it is there already."""
    text, path = json.dumps(plain, indent=2, sort_keys=True), folder / TRACKING
    if not path.is_file() or path.read_text("utf-8", "replace") != text:
        write_text(path, text)


def model_in(path: Path, uri: str) -> str | None:
    """MLflow's id of the model that a stage left at a place below its folder, if it has one."""
    for folder in (path, *path.parents):
        if (folder / TRACKING).is_file():
            known = recall(folder)
            return known["model_id"] if known["store"] == shown_uri(uri) else None
    return None


def relative(path: Path, folder: Path) -> str:
    """A file's path as tracking.json keeps it: relative to the stage's folder if it lies there."""
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path.absolute())
