"""The cases of a segmentation run, what decides its stages, and where its results are."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from medssl.data.layouts import find_cases
from medssl.data.spec import DataSpec
from medssl.data.split import make_split, verify
from medssl.errors import DataError, UsageError
from medssl.families.segment.config import SegmentConfig
from medssl.pipeline.plan import Cohort, Plan
from medssl.train.fingerprint import fingerprint

SegmentPlan = Plan[SegmentConfig, Cohort]


def find_cohort(config: SegmentConfig, kept_out: Collection[str] = ()) -> Cohort:
    """All cases of the data set, and the split that the pipeline asks for.

    Raises:
        DataError: the data set is missing, declares no labels, is too small for the label budget,
            or has one patient in two parts.
        UsageError: its labels are regions.
    """
    refuse_unlearnable(config.spec)
    cases = find_cases(config.spec)
    split = make_split(cases, config.pipeline.split, config.pipeline.seed)
    verify(split, cases)
    return Cohort(tuple(cases), (split,))


def inputs(config: SegmentConfig, cohort: Cohort) -> dict[str, list[Any]]:
    """The settings, who has which role, and the files of those that a stage reads."""
    pipeline, split = config.pipeline, cohort.split
    settings = ("data", "preprocess", "network", "method", "pretrain", "augment", "train")
    roles = (split.labelled, split.unlabelled, split.validation)
    seen = [case for case in cohort.cases if case.id in set().union(*roles)]
    mirrored = [pipeline.augment.mirrored] if pipeline.predict.flips else []
    return {
        "train": [config.hash(*settings), pipeline.seed, roles, fingerprint(seen)],
        "predict": [config.hash("predict"), fingerprint(cohort.test), *mirrored],
        "evaluate": [config.hash("evaluate")],
    }


def results(plan: SegmentPlan) -> dict[str, Path]:
    """The weights that predict, the masks of the test cases, their scores and the report."""
    scored = plan.folder("evaluate")
    return {
        "model": plan.folder("train") / "checkpoint" / plan.config.pipeline.predict.checkpoint,
        "masks": plan.folder("predict"),
        "scores": scored / "scores.csv",
        "report": scored / "report.html",
    }


def refuse_unlearnable(spec: DataSpec) -> None:
    """Refuse a data set that does not say what is to be learnt.

    Raises:
        DataError: it declares no labels.
        UsageError: it declares regions.
    """
    if not spec.labels:
        raise DataError(
            f"the data set {spec.name} declares no labels",
            "there is nothing to segment",
            "declare the values of its masks under `labels` in the data spec",
        )
    if spec.regions:
        raise UsageError(
            f"the data set {spec.name} declares the regions {', '.join(spec.regions)}",
            "regions, which are unions of labels, are not learnt yet",
            "leave `regions` out of the data spec, and each of its labels is learnt by itself",
        )
