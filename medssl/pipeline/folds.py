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
from medssl.pipeline.lock import alone_in
from medssl.pipeline.plan import Job, Plan
from medssl.pipeline.stage import read_json
from medssl.train.folds import FoldJournal, FoldLog, fold_folder
from medssl.train.loop import Log
from medssl.train.track import Tracker

HELD_OUT = "held_out.json"
"""What the model of a fold says of the cases that it leaves out, where a family needs no more."""


def train_folds(
    job: Job,
    tracker: Tracker,
    splits: Sequence[Split],
    steps: Sequence[int],
    train: Callable[[Split, Path, Log], None],
) -> FoldLog:
    """Train each fold that is not done, or the one that a job is for.

    Another process may train one of them meanwhile, which is waited for.

    Args:
        splits: of the folds.
        steps: of the training of each.
        train: (split, folder, log) trains a fold and leaves the file that the family names in
            `Step.folds` in its folder.

    Returns:
        The log of the final training.
    """
    before = 0
    for number, (split, count) in enumerate(zip(splits, steps, strict=True)):
        place = fold_folder(job.plan.folder(job.plan.config.family.folded[0]), number)
        if job.fold in (None, number):
            with alone_in(place, job.reporter.note):
                log, own = FoldLog(tracker, number, before), FoldJournal(place)
                if not is_trained(job.plan, number):
                    job.reporter.note(f"fold {number + 1} of {len(splits)}")
                    # One that was begun apart keeps its journal until it is done.
                    train(split, place, own if own.begun or job.fold is not None else log)
                if job.fold is None:
                    own.hand_over(log)
                (place / "state.pt").unlink(missing_ok=True)
        before += count
    return FoldLog(tracker, None, before)


def is_trained(plan: Plan[Any, Any], number: int) -> bool:
    """Whether a fold is trained."""
    name, mark = plan.config.family.folded
    trained: Path = fold_folder(plan.folder(name), number) / mark
    return trained.is_file()


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
