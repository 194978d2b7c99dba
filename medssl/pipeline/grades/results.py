"""Finished evaluations of radiographs read back from their run folders."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medssl.environment import runs_root
from medssl.errors import DataError, UsageError
from medssl.evaluate.grade_report import read_grades
from medssl.pipeline.stage import read_config, read_json


@dataclass(frozen=True)
class GradeResult:
    """The scores of one run.

    Attributes:
        config: resolved configuration, nested as in the pipeline file.
        images: ids of the test images, sorted.
        truth, predicted: [S] grade indices, in the order of `images`.
        numbers: scores by name.
        run_id: MLflow run of the evaluation; empty where MLflow did not answer.
    """

    config: dict[str, Any]
    images: tuple[str, ...]
    truth: np.ndarray
    predicted: np.ndarray
    numbers: dict[str, float]
    run_id: str

    @property
    def method(self) -> str:
        """Name of the method."""
        return str(self.config["method"]["name"])

    @property
    def labels(self) -> int:
        """Labelled images of each grade; 0: all of them."""
        return int(self.config["split"]["labels"] or 0)

    @property
    def seed(self) -> int:
        """Seed of split and training."""
        return int(self.config["seed"])


def read_result(folder: Path) -> GradeResult:
    """What an evaluation left in its folder.

    Raises:
        UsageError: the folder is damaged.
    """
    try:
        config = read_config(folder, "method.name", "split.labels", "seed")
        found = sorted(read_grades(folder / "scores.csv"), key=lambda image: image.id)
        done = read_json(folder / "done.json", "summary")
        numbers = done["summary"]
    except (OSError, ValueError, KeyError, TypeError, DataError):
        raise UsageError(
            f"{folder} is not a complete evaluation", do="delete the folder and run again"
        ) from None
    return GradeResult(
        config,
        tuple(image.id for image in found),
        np.array([image.truth for image in found]),
        np.array([image.prediction for image in found]),
        numbers,
        str(done.get("run_id") or ""),
    )


def read_results(pipeline: str) -> list[GradeResult]:
    """All finished evaluations of a pipeline, by labels, method and seed.

    Raises:
        UsageError: there is none.
    """
    found = sorted((runs_root() / pipeline).glob("evaluate-*/done.json"))
    if not found:
        raise UsageError(
            f"there are no finished runs of '{pipeline}' in {runs_root()}",
            do=f"start one with `medssl run {pipeline}`",
        )
    results = [read_result(path.parent) for path in found]
    return sorted(results, key=lambda one: (one.labels, one.method, one.seed))
