"""A cross-validation of grading: what each fold says of the images that it leaves out.

Where no image is kept for validation, the temperature that makes probabilities honest is chosen
from these answers. A fold gets that of the other folds, so that its own images do not choose what
they are scored by.

Legend: K grades.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from medssl.atomic import write_text
from medssl.evaluate.calibration import fit_temperature
from medssl.pipeline.stage import read_json
from medssl.train.folds import fold_folder

HELD_OUT, CHOSEN = "held_out.json", "temperatures.json"

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
    found = [list(read_json(fold_folder(folder, n) / HELD_OUT).values()) for n in range(folds)]
    final = _fitted([one for fold in found for one in fold])
    each = [_fitted([one for other in found if other is not own for one in other]) for own in found]
    write_text(folder / CHOSEN, json.dumps({"final": final, "folds": each}))
    return final


def temperature_of_fold(folder: Path, number: int) -> float | None:
    """What the other folds chose for a fold; None where its validation images did."""
    if not (folder / CHOSEN).is_file():
        return None
    return float(read_json(folder / CHOSEN)["folds"][number])


def _fitted(images: Sequence[Mapping[str, object]]) -> float:
    if len(images) < ENOUGH:
        return 1.0
    logits = np.array([image["logits"] for image in images], np.float64)
    return fit_temperature(logits, np.array([image["grade"] for image in images], np.int64))
