"""What a run of a pipeline of slides will do: its cases, folds and stage folders."""

import json
from dataclasses import dataclass

from medssl.data.folds import make_folds
from medssl.data.layouts import find_cases
from medssl.data.spec import Case
from medssl.data.split import Split
from medssl.environment import runs_root
from medssl.errors import UsageError
from medssl.pipeline.config import digest
from medssl.pipeline.slides.config import SlideConfig
from medssl.pipeline.stage import Stage, Subject
from medssl.train.fingerprint import fingerprint


@dataclass(frozen=True)
class SlidePlan:
    """The stages of a run, each with its folder.

    Attributes:
        cases: all of them, in the data set's order.
        folds: who trains, validates and tests in each fold.
    """

    config: SlideConfig
    cases: tuple[Case, ...]
    folds: tuple[Split, ...]
    whole: Stage
    train: Stage
    predict: Stage
    evaluate: Stage

    @property
    def subject(self) -> Subject:
        """What its stages have in common."""
        config = self.config
        tags = {"method": config.pipeline.method.name}
        resolved, splits = config.resolved(), self.splits_json()
        return Subject(config.pipeline.name, config.label, resolved, splits, tags)

    @property
    def tested(self) -> bool:
        """Whether any bag is held out."""
        return any(fold.test for fold in self.folds)

    def splits_json(self) -> str:
        """Who has which role in each fold, hashes included."""
        return json.dumps([json.loads(fold.to_json()) for fold in self.folds], indent=2)


@dataclass(frozen=True)
class FoldedCases:
    """The cases of a data set and who trains, validates and tests; the same for every method."""

    cases: tuple[Case, ...]
    folds: tuple[Split, ...]
    fingerprint: str


def fold_cases(config: SlideConfig) -> FoldedCases:
    """Find and fold the cases of a pipeline.

    Raises:
        DataError: the data set is missing or unusable.
        UsageError: a class has too few patients for the folds, or no case has a class.
    """
    pipeline = config.pipeline
    cases = find_cases(config.spec)
    if all(case.extra.get("class") is None for case in cases):
        raise UsageError(
            f"no case of {config.spec.name} has a class to learn from",
            "its data spec names no table of labels, or the table is empty",
            "add `table: labels.csv` with the columns slide and label to its layout",
        )
    split = pipeline.split
    folds = make_folds(cases, config.classes, split.folds, split.validation, pipeline.seed)
    return FoldedCases(tuple(cases), tuple(folds), fingerprint(cases))


def make_slide_plan(config: SlideConfig, found: FoldedCases | None = None) -> SlidePlan:
    """Cases, folds and folders; trains nothing and writes nothing.

    Args:
        found: the folded cases where they are at hand.

    Raises:
        DataError, UsageError: as `fold_cases`.
    """
    pipeline, found = config.pipeline, found or fold_cases(config)
    how = ("tiles", "encoder") if config.tiled else ()
    inputs = config.hash("data", *how, "method", "train", "evaluate")
    roles = [fold.hash for fold in found.folds]
    train = digest([inputs, pipeline.seed, roles, found.fingerprint])
    predict = digest([train, config.hash("predict")])
    folder = runs_root() / pipeline.name
    return SlidePlan(
        config,
        found.cases,
        found.folds,
        whole=Stage("run", predict, folder / f"run-{predict}"),
        train=Stage("train", train, folder / f"train-{train}"),
        predict=Stage("predict", predict, folder / f"predict-{predict}"),
        evaluate=Stage("evaluate", predict, folder / f"evaluate-{predict}"),
    )
