"""A cross-validation of whichever family: its trainings, their networks, and what they choose.

The family says how one split is trained with, and what the answers of folds choose.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from medssl.atomic import write_text
from medssl.data.split import Split
from medssl.networks.ensemble import Ensemble
from medssl.pipeline.plan import Job, Plan
from medssl.pipeline.stage import read_json
from medssl.train.folds import FoldLog, fold_folder
from medssl.train.track import Tracker

HELD_OUT = "held_out.json"
"""What the model of a fold says of the cases that it leaves out; a fold that has it is done."""


def train_folds(
    job: Job, tracker: Tracker, steps: int, train: Callable[[Split, Path, FoldLog], None]
) -> FoldLog:
    """Train each fold that is not done; returns the log of the final training.

    Args:
        steps: of one training.
        train: (split, folder, log) trains a fold and leaves `HELD_OUT` in its folder.
    """
    folds, folder = job.plan.cohort.folds, job.plan.folder("train")
    for number, fold in enumerate(folds):
        place = fold_folder(folder, number)
        if not (place / HELD_OUT).is_file():
            job.reporter.note(f"fold {number + 1} of {len(folds)}")
            train(fold, place, FoldLog(tracker, number, number * steps))
        (place / "state.pt").unlink(missing_ok=True)
    return FoldLog(tracker, None, len(folds) * steps)


def model_of_fold(plan: Plan[Any, Any], number: int | None) -> Path:
    """Folder of the checkpoint of a fold; None: that of the final model."""
    train = plan.folder("train")
    return fold_folder(train, number) / plan.model.relative_to(train)


def networks_of_folds(
    plan: Plan[Any, Any], load: Callable[[Path], tuple[Ensemble, Any]]
) -> list[nn.Module]:
    """The networks that the folds predict with, in order; `load` reads a checkpoint."""
    models = [model_of_fold(plan, number) for number in range(len(plan.cohort.folds))]
    return [network for model in models for network in load(model)[0].members]


def choose_from_folds(
    folder: Path, folds: int, name: str, choose: Callable[[Sequence[dict[str, Any]]], Any]
) -> Any:
    """Write down what the folds' answers choose; returns what they choose for the final model.

    A fold gets what the answers of the other folds choose, so that its own cases do not choose what
    they are scored by.

    Args:
        folder: of the training stage.
        name: of the file that is written.
        choose: (`HELD_OUT` of each fold) -> the choice, as plain values.
    """
    found = [read_json(fold_folder(folder, number) / HELD_OUT) for number in range(folds)]
    others = [[one for one in found if one is not own] for own in found]
    final, *each = [choose(answers) for answers in (found, *others)]
    write_text(folder / name, json.dumps({"final": final, "folds": each}, indent=1))
    return final


def chosen_for(path: Path, number: int | None) -> Any:
    """What was chosen for a fold, or for the final model, None; None where nothing was."""
    if not path.is_file():
        return None
    plain = read_json(path)
    return plain["final"] if number is None else plain["folds"][number]
