"""A cross-validation of grading: what each fold says of the images that it leaves out.

Where no image is kept for validation, the temperature that makes probabilities honest is chosen
from these answers.

Legend: K grades.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medssl.atomic import write_text
from medssl.evaluate.calibration import fit_temperature
from medssl.pipeline.folds import HELD_OUT, choose_from_folds

TEMPERATURES = "temperatures.json"
"""What the folds choose, in the folder of the training stage."""

ENOUGH = 20
"""Of fewer images no temperature is chosen: a handful that is right would make it too sure."""


def write_held_out(
    folder: Path, logits: np.ndarray, names: Sequence[str], grades: Mapping[str, int]
) -> None:
    """Write down logits [S, K] of a fold for the images that it leaves out, and their grades."""
    found = {
        name: {"logits": row.tolist(), "grade": grades[name]}
        for name, row in zip(names, logits, strict=True)
    }
    write_text(folder / HELD_OUT, json.dumps(found))


def choose_temperatures(folder: Path, folds: int) -> float:
    """Write down the temperature of every fold, and return that of the final model."""
    return float(choose_from_folds(folder, folds, TEMPERATURES, _fitted))


def _fitted(folds: Sequence[Mapping[str, Any]]) -> float:
    images = [image for fold in folds for image in fold.values()]
    if len(images) < ENOUGH:
        return 1.0
    logits = np.array([image["logits"] for image in images], np.float64)
    return fit_temperature(logits, np.array([image["grade"] for image in images], np.int64))
