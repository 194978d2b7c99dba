"""The cases of a run on slides, what decides its stages, and where its results are."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from medssl.data.folds import make_folds
from medssl.data.layouts import find_cases
from medssl.data.spec import Case
from medssl.errors import UsageError
from medssl.families.slide.config import SlideConfig
from medssl.networks.tile_settings import TileEncoderSettings
from medssl.pipeline.plan import Cohort, Plan
from medssl.train.fingerprint import fingerprint


class SlideCohort(Cohort):
    """Slides or bags, and who has which role in each fold."""

    @property
    def kept_from_pretraining(self) -> tuple[Case, ...]:
        """The cases that the data set keeps for testing.

        In a cross-validation every case is tested once, so an encoder is pre-trained on all of
        them, without their labels.
        """
        return tuple(case for case in self.cases if case.part == "test")


SlidePlan = Plan[SlideConfig, SlideCohort]


def find_cohort(config: SlideConfig, kept_out: Collection[str] = ()) -> SlideCohort:
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
    return SlideCohort(tuple(cases), tuple(folds))


def inputs(config: SlideConfig, cohort: SlideCohort) -> dict[str, list[Any]]:
    """The settings, the folds and all files; the scores depend on nothing more."""
    tiles = ("tiles", "encoder") if config.tiled else ()
    settings = ("data", *tiles, "method", "train", "evaluate")
    folds = [fold.hash for fold in cohort.splits]
    files = fingerprint(cohort.cases)
    return {
        "train": [config.hash(*settings), config.pipeline.seed, folds, files],
        "predict": [config.hash("predict")],
        "evaluate": [],
    }


def results(plan: SlidePlan) -> dict[str, Path]:
    """The classifier of all folds, calls and heat maps, their scores and the report."""
    called, scored = plan.folder("predict"), plan.folder("evaluate")
    drawn = plan.config.tiled and plan.config.pipeline.predict.heat_maps
    return {
        "model": plan.folder("train") / "checkpoint",
        "calls": called / "calls.csv",
        **({"maps": called} if drawn else {}),
        **({"scores": scored / "scores.csv"} if plan.cohort.test else {}),
        "report": scored / "report.html",
    }


def must_fit(config: SlideConfig, trained: TileEncoderSettings, what: str) -> None:
    """Refuse a pre-trained encoder of tiles that is another one than the pipeline's.

    Raises:
        UsageError: names the keys to set.
    """
    own, other = (one.model_dump(exclude={"weights"}) for one in (config.pipeline.encoder, trained))
    keys = [f"encoder.{key}={value}" for key, value in other.items() if own[key] != value]
    if keys:
        raise UsageError(f"{what} does not fit the pipeline's encoder", "", f"set {' '.join(keys)}")
