"""The cases of a segmentation run, what decides its stages, and where its results are."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from medssl.atomic import write_text
from medssl.data.case_checks import inspect
from medssl.data.dimensions import are_pictures
from medssl.data.folds import leave_out, shortcomings
from medssl.data.layouts import find_cases
from medssl.data.refusal import refuse_cases
from medssl.data.spec import Case, DataSpec
from medssl.data.split import make_split, verify
from medssl.data.workers import Workers
from medssl.environment import cache_root
from medssl.errors import DataError, UsageError
from medssl.families.segment.config import SegmentConfig
from medssl.families.segment.foreground import foreground
from medssl.pipeline.plan import Cohort, Plan
from medssl.pipeline.progress import QuietReporter, Steps
from medssl.section import digest
from medssl.train.fingerprint import fingerprint

SegmentPlan = Plan[SegmentConfig, Cohort]

VOLUMES, PAGE = "volumes.csv", "masks.html"
"""Beside the masks of unlabelled cases: what they measure, and a page of pictures."""

CHECK = 1  # of what is looked for; raise it when cases that passed need another look

REHEARSAL = (
    "{} training cases are scored in place of the test cases, which nothing sees (split.rehearsal)"
)

WORKERS = 2


def find_cohort(config: SegmentConfig, kept_out: Collection[str] = ()) -> Cohort:
    """All cases of the data set, and the splits that the pipeline asks for.

    Raises:
        DataError: the data set is missing, declares no labels, is too small for the label budget,
            or has one patient in two parts.
        UsageError: one labelled patient is to be folded.
    """
    refuse_unlearnable(config.spec)
    cases = find_cases(config.spec)
    _must_be_of_its_dimensions(config, cases)
    split = make_split(cases, config.pipeline.split_used, config.pipeline.seed)
    verify(split, cases)
    asked = config.pipeline.split.folds
    scored = (*split.test, *split.validation, *(split.labelled if asked else ()))
    _must_outline_some(config.spec, scored)
    rehearsal = [REHEARSAL.format(len(split.test))] if config.pipeline.split.rehearsal else []
    if not asked:
        return Cohort(tuple(cases), (split,), tuple(rehearsal))
    labelled = [case for case in cases if case.id in set(split.labelled)]
    contents = foreground(labelled, config.spec)
    folds = leave_out(split, cases, asked, contents)
    for one in folds:
        verify(one, cases)
    return Cohort(
        tuple(cases), (split, *folds), (*rehearsal, *shortcomings(folds, contents, asked))
    )


def _must_outline_some(spec: DataSpec, scored: Sequence[str]) -> None:
    """Refuse to score masks that outline nothing; of others what they outline is scored."""
    none = [name for name in scored if not spec.structures_in(name)]
    if none:
        raise UsageError(
            f"{len(none)} cases to be scored outline nothing, {none[0]} among them",
            "`outlined` in the data spec names no label of theirs",
            "declare test cases that outline something, or set split.test=0 split.folds=0 "
            "split.validation=0",
        )


def _given(config: SegmentConfig) -> Mapping[str, Any]:
    """The keys of `train` that its pipeline gives, where others are left to a plan."""
    own = config.given.get("train")
    return own if isinstance(own, Mapping) else {}


def _must_be_of_its_dimensions(config: SegmentConfig, cases: Sequence[Case]) -> None:
    """Refuse windows that are boxes where images are pictures."""
    patch = config.pipeline.train.patch
    if are_pictures(cases) and patch[2] != 1 and (config.is_planned or "patch" in _given(config)):
        raise UsageError(
            f"the images of {config.spec.name} are pictures, and train.patch={list(patch)} is a "
            "box",
            "a 2-D network learns from windows with two sides",
            f"set train.patch={list(patch[:2])}",
        )


def inputs(config: SegmentConfig, cohort: Cohort) -> dict[str, list[Any]]:
    """The settings, who has which role, and the files of those that a stage reads."""
    pipeline, split = config.pipeline, cohort.split
    settings = ["data", "preprocess", "network", "method", "pretrain", "augment", "train"]
    if pipeline.loss is not None:
        settings.append("loss")
    roles = (split.labelled, split.unlabelled, split.validation)
    seen = [case for case in cohort.cases if case.id in set().union(*roles)]
    folds = [[fold.test for fold in cohort.folds], pipeline.split.final] if cohort.folds else []
    mirrored = [pipeline.mirrored] if pipeline.predict.flips else []
    how = [config.hash("predict"), *mirrored]
    single = [label.name for label in config.spec.labels if label.one_part]
    found: dict[str, list[Any]] = {
        "train": [
            config.hash(*settings),
            pipeline.seed,
            roles,
            fingerprint(seen),
            *folds,
            *([single] if single else []),
        ]
    }
    if cohort.test:
        found["predict"] = [how[0], fingerprint(cohort.test), *mirrored]
        found["evaluate"] = [config.hash("evaluate")]
    if pipeline.predict.unlabelled and (rest := unlabelled_cases(cohort)):
        found["unlabelled"] = [*how, fingerprint(rest)]
    return found


def unlabelled_cases(cohort: Cohort) -> list[Case]:
    """The cases without a label, whatever their role."""
    return [case for case in cohort.cases if case.label is None]


def results(plan: SegmentPlan) -> dict[str, Path]:
    """The weights that predict, the masks of test cases, scores and report, and all other masks.

    Of what the run does not do there is none.
    """
    trained = plan.folder("train") / "checkpoint" / plan.config.pipeline.predict.checkpoint
    found = {"model": trained}
    if "evaluate" in plan.stages:
        scored = plan.folder("evaluate")
        found["masks"] = plan.folder("predict")
        found |= {"scores": scored / "scores.csv", "report": scored / "report.html"}
    if "unlabelled" in plan.stages:
        folder = plan.folder("unlabelled")
        found |= {"unlabelled": folder, "volumes": folder / VOLUMES, "pictures": folder / PAGE}
    return found


def refuse_unlearnable(spec: DataSpec) -> None:
    """Refuse a data set that does not say what is to be learnt.

    Raises:
        DataError: it declares no labels.
    """
    if not spec.labels:
        raise DataError(
            f"the data set {spec.name} declares no labels",
            "there is nothing to segment",
            "declare the values of its masks under `labels` in the data spec",
        )


def check_test_cases(config: SegmentConfig, cohort: Cohort, reporter: QuietReporter) -> None:
    """Read images and labels of the test cases once; those that passed before are not read again.

    Training cases are checked when they are cached.

    Raises:
        DataError: a file is missing, damaged or does not fit; says how many more cases are wrong.
    """
    config.try_network()
    spec, cases, channels = config.spec, cohort.test, set(config.spec.channels)
    marks = {case.id: _mark(spec, case) for case in cases}
    # Scans that are no channel are not predicted.
    new = [
        replace(case, images={name: case.images[name] for name in case.images if name in channels})
        for case in cases
        if not marks[case.id].is_file()
    ]
    if not new:
        return
    reporter.note(f"checking {len(new)} test cases of {spec.name}")
    whole = spec.model_copy(update={"layout": spec.layout.model_copy(update={"sessions": False})})
    wrong: list[DataError] = []
    with Steps(reporter, len(new)) as steps, Workers(WORKERS) as pool:
        for finding in pool.map(partial(inspect, spec=whole), new):
            found = [verdict for verdict in finding.verdicts if verdict.level == "error"]
            if found:
                wrong.append(DataError(found[0].what, do=found[0].do))
            else:
                write_text(marks[finding.case.id], "sound\n")
            steps.advance()
    refuse_cases(wrong, spec)


def _mark(spec: DataSpec, case: Case) -> Path:
    """The file that says that a case is sound, by content and by what is declared."""
    declared = [spec.channels, spec.mask_values, spec.empty_masks, *spec.label_colours]
    key = digest([CHECK, fingerprint([case]), *declared])
    return cache_root() / spec.name / "checked" / f"{case.id}-{key}"
