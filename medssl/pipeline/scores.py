"""Finished evaluations read back from their run folders."""

import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medssl.data.rows import read_table
from medssl.environment import runs_root
from medssl.errors import DataError, UsageError
from medssl.pipeline.stage import read_config, read_json

COMPARED = {"dice", "hd95", "asd"}
"""Scores that every case has."""


@dataclass(frozen=True)
class RunScores:
    """The scores of one run.

    Attributes:
        config: resolved configuration, nested as in the pipeline file.
        cases: case to metric to its mean over foreground classes.
        run_id: MLflow run of the evaluation; empty where MLflow did not answer.
    """

    folder: Path
    config: dict[str, Any]
    cases: dict[str, dict[str, float]]
    run_id: str

    @property
    def method(self) -> str:
        """Name of the method."""
        return str(self.config["method"]["name"])

    @property
    def labels(self) -> int:
        """Label budget."""
        return int(self.config["split"]["labels"])

    @property
    def seed(self) -> int:
        """Seed of split and training."""
        return int(self.config["seed"])

    def values(self, metric: str) -> dict[str, float]:
        """One metric by case."""
        return {case: found[metric] for case, found in self.cases.items()}

    def mean(self, metric: str) -> float:
        """Mean over all cases; none is left out."""
        return float(np.mean(list(self.values(metric).values())))


def read_run(folder: Path) -> RunScores:
    """The scores in an evaluation's folder.

    Raises:
        UsageError: the folder is damaged.
    """
    try:
        config = read_config(folder, "method.name", "split.labels", "seed")
        cases = read_scores(folder / "scores.csv")
        if any(not set(found) >= COMPARED for found in cases.values()):
            raise DataError(f"{folder / 'scores.csv'} lacks a score")
    except (OSError, ValueError, KeyError, DataError):
        raise UsageError(
            f"{folder} is not a complete evaluation", do="delete the folder and run again"
        ) from None
    run_id = str(read_json(folder / "done.json").get("run_id") or "")
    return RunScores(folder, config, cases, run_id)


def read_runs(pipeline: str) -> list[RunScores]:
    """All finished evaluations of a pipeline, by method, labels and seed.

    Raises:
        UsageError: there is none.
    """
    found = sorted((runs_root() / pipeline).glob("evaluate-*/done.json"))
    if not found:
        raise UsageError(
            f"there are no finished runs of '{pipeline}' in {runs_root()}",
            do=f"start one with `medssl run {pipeline}`",
        )
    runs = [read_run(path.parent) for path in found]
    return sorted(runs, key=lambda run: (run.method, run.labels, run.seed, run.folder.name))


def read_scores(path: Path) -> dict[str, dict[str, float]]:
    """Case to metric to mean over foreground classes, from a scores.csv.

    Raises:
        DataError: the file is missing, damaged or has no rows.
    """
    rows: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in read_table(path):
        for name, text in row.items():
            if name not in {"case", "class"} and (value := _number(text)) is not None:
                rows[row.get("case", "")][name].append(value)
    if not rows:
        raise DataError(f"{path} holds no scores", do="evaluate again")
    return {
        case: {name: float(np.mean(values)) for name, values in metrics.items()}
        for case, metrics in rows.items()
    }


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
