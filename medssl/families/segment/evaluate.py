"""The evaluation stage: predicted masks against the labels, as CSV, HTML and MLflow entries."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medssl.atomic import make_folder, write_bytes
from medssl.data.files import is_picture
from medssl.data.foreground import where_known
from medssl.data.geometry import Geometry
from medssl.data.joined import first_file
from medssl.data.labels import IGNORED
from medssl.data.layouts import find_cases
from medssl.data.spec import Case, DataSpec
from medssl.data.volume import FORMATS, PNG_SLICES, read_geometry, read_mask, read_volume
from medssl.errors import DataError
from medssl.evaluate.curves import draw_curves
from medssl.evaluate.further_masks import further_metric
from medssl.evaluate.overlay import draw_overlay
from medssl.evaluate.report import Parts, Picture, Report, write_report
from medssl.evaluate.segmentation import ClassScore, case_scores
from medssl.evaluate.settings import EvaluateSettings, named
from medssl.evaluate.summary import CaseScores, ranked, summarise
from medssl.evaluate.table import write_scores
from medssl.families.segment.cohort import SegmentPlan
from medssl.families.segment.predict import mask_folder
from medssl.infer.measure import unit_of
from medssl.pipeline.plan import Cohort, Job
from medssl.pipeline.progress import QuietReporter, Steps
from medssl.pipeline.sections import overridden
from medssl.train.distributed import TEAM
from medssl.train.track import Tracker

CROSS_VALIDATION = "cross_validation.csv"
"""Scores of the cases that folds left out, where others are the test cases."""


def evaluate(job: Job, tracker: Tracker) -> dict[str, Any]:
    """Score the test cases; beside them, those that folds left out, where both exist.

    Raises:
        DataError: a mask lies on another grid than its label, or holds undeclared values.
        UsageError: a metric of another package cannot be used.
    """
    plan: SegmentPlan = job.plan
    pipeline, folder, cohort = plan.config.pipeline, plan.folder("evaluate"), plan.cohort
    title = pipeline.title or pipeline.name
    spec, settings, masks = plan.config.spec, pipeline.evaluate, partial(mask_folder, plan)
    if not TEAM.leads:
        _scored(spec, settings, cohort.test, masks, job.reporter)
        if cohort.folds and cohort.split.test:
            _scored(spec, settings, cohort.left_out, masks, job.reporter)
        return {}
    report = _report(title, spec, settings, cohort.test, masks, job.reporter, cohort)
    summary, files, beside = report.summary.flat(), ["scores.csv", "report.html"], ""
    if cohort.folds and cohort.split.test:
        left_out = _report(title, spec, settings, cohort.left_out, masks, job.reporter, cohort)
        write_scores(folder / CROSS_VALIDATION, left_out.cases)
        files.append(CROSS_VALIDATION)
        found = left_out.summary.flat()
        summary |= {f"cross_validation/{name}": value for name, value in found.items()}
        beside = f"Dice {left_out.summary.overall.means['dice']}"
    _write(replace(report, origin=plan.origin(draw_curves(plan.logged()), beside)), folder)
    for name in files:
        tracker.artifact(folder / name)
    tracker.artifact(folder / "overlays", "overlays")
    return {"summary": summary}


def evaluate_folder(
    predictions: Path,
    spec: DataSpec,
    out: Path,
    reporter: QuietReporter,
    overrides: Sequence[str] = (),
) -> str:
    """Score a bare folder of masks named CASE.nii.gz (or .nrrd, .mha) against a data set's labels.

    Writes scores.csv, report.html and overlays into `out`; returns a word on the result.

    Args:
        overrides: keys of the `evaluate` section, e.g. "metrics=[NAME]".

    Raises:
        UsageError: a key, or a metric, is not known.
        DataError: no mask belongs to a labelled case, or one cannot be used.
    """
    settings = overridden(EvaluateSettings, overrides, "evaluate.")
    labelled = [case for case in find_cases(spec) if case.label is not None]
    cases = [case for case in labelled if _written(predictions, case.id).is_file()]
    if not cases:
        raise DataError(
            f"{predictions} holds no mask of a labelled case of {spec.name}",
            "masks are named after the case, e.g. " + _written(predictions, labelled[0].id).name
            if labelled
            else "the data set has no labels",
            "check the folder and --data",
        )
    report = _report(spec.title, spec, settings, cases, lambda _: predictions, reporter)
    _write(replace(report, without_mask=len(labelled) - len(cases)), out)
    means = report.summary.overall.means
    keys = [named(choice).key for choice in settings.metrics]
    said = [
        f"{title} {means[key]}" for key, title in (("dice", "Dice"), *((key, key) for key in keys))
    ]
    return (
        f"{len(cases)} of {len(labelled)} labelled cases: {', '.join(said)}\n"
        f"scores   {out / 'scores.csv'}\nreport   {out / 'report.html'}"
    )


def _write(report: Report, out: Path) -> None:
    """Write scores.csv, report.html and the overlays of the report's pictures."""
    make_folder(out / "overlays")  # also where no picture is asked for
    for picture in report.pictures:
        name = f"{picture.rank}_{picture.case}.png".replace(" ", "_")
        write_bytes(out / "overlays" / name, picture.png)
    write_scores(out / "scores.csv", report.cases)
    write_report(out / "report.html", report)


def _report(
    title: str,
    spec: DataSpec,
    settings: EvaluateSettings,
    cases: Sequence[Case],
    masks: Callable[[str], Path],
    reporter: QuietReporter,
    cohort: Cohort | None = None,
) -> Report:
    """Scores, their means and pictures of some cases; `masks` tells the folder of a case's mask."""
    scores, units, known = _scored(spec, settings, cases, masks, reporter)
    further = [further_metric(choice) for choice in settings.metrics]
    by_id = {case.id: case for case in cases}
    pictures = tuple(
        Picture(rank, chosen.case, _drawn(by_id[chosen.case], masks(chosen.case), spec))
        for rank, chosen in ranked(scores, settings.overlays)
    )
    folds = cohort.folds_of(by_id) if cohort else None
    summary = summarise(scores, settings.bootstrap, np.random.default_rng(0), further, folds)
    parts = Parts(
        sum(len(one.classes) < len(spec.structures) for one in scores),
        [share for share in known if share < 1],
    )
    return Report(title, spec, settings, summary, scores, pictures, units=units, parts=parts)


def _scored(
    spec: DataSpec,
    settings: EvaluateSettings,
    cases: Sequence[Case],
    masks: Callable[[str], Path],
    reporter: QuietReporter,
) -> tuple[list[CaseScores], dict[str, str], list[float]]:
    """Scores of some cases, the unit of the volumes of each, and its share of known voxels.

    Each process scores a part.
    """
    further = [further_metric(choice) for choice in settings.metrics]

    def score(case: Case) -> list[Any]:
        truth, prediction, grid, seen = _pair(case, masks(case.id), spec)
        given = prediction, truth, grid.spacing, spec.classes
        how = settings.tolerance, settings.pooled, further, spec.united
        found = case_scores(*given, *how, outlined=spec.structures_in(case.id))
        steps.advance()
        unit = unit_of(grid.spacing, case.label is not None and is_picture(first_file(case.label)))
        return [list(map(asdict, found)), unit, seen]

    with TEAM.joined(torch.device("cpu")), Steps(reporter, len(TEAM.own(cases))) as steps:
        found = TEAM.spread(score, cases)
    scores = [
        CaseScores(case.id, tuple(ClassScore(**one) for one in classes))
        for case, (classes, *_) in zip(cases, found, strict=True)
    ]
    units = {case.id: unit for case, (_, unit, _) in zip(cases, found, strict=True)}
    return scores, units, [seen for *_, seen in found]


def _drawn(case: Case, masks: Path, spec: DataSpec) -> bytes:
    """The overlay of one case on its first channel, PNG."""
    truth, prediction, grid, _ = _pair(case, masks, spec)
    image = read_volume(case.images[spec.channels[0]])
    uncertain = _written(masks, f"{case.id}_entropy")
    entropy = read_volume(uncertain).array[0] if uncertain.is_file() else None
    return draw_overlay(image.array[0], truth, prediction, grid, spec.classes, entropy)


def _pair(
    case: Case, masks: Path, spec: DataSpec
) -> tuple[np.ndarray, np.ndarray, Geometry, float]:
    """Truth and prediction as class indices [X, Y, Z] on their common grid.

    Both are background where the truth is ignored; the last is the share of voxels where it is not.
    """
    if case.label is None:
        raise DataError(f"test case {case.id} has no label", do="leave it out of the test cases")
    first = case.images[spec.channels[0]]
    on = read_geometry(first) if is_picture(first_file(case.label)) else None
    truth = read_mask(case.label, spec.labels, on)
    prediction = read_mask(_written(masks, case.id), on=truth.geometry)
    if not prediction.geometry.matches(truth.geometry):
        raise DataError(
            f"the mask of case {case.id} does not lie on the grid of its label",
            prediction.geometry.difference(truth.geometry),
            "predict the case again from the data set's own image",
        )
    true, predicted = (
        _indices(one.array[0], values, spec, one.source)
        for one, values in ((truth, spec.mask_values), (prediction, spec.label_values))
    )
    seen = float((true != IGNORED).mean())
    if not seen:
        raise DataError(
            f"the mask of case {case.id} is ignored everywhere",
            "there is nothing to score",
            "leave it out of the test cases",
        )
    predicted, true = where_known(predicted, true)
    return true, predicted, truth.geometry, seen


def _indices(values: np.ndarray, known: Sequence[int], spec: DataSpec, source: str) -> np.ndarray:
    """Mask values, of those `known`, as class indices, uint8."""
    odd = set(np.unique(values).tolist()) - set(known)
    if odd:
        raise DataError(
            f"{source} holds the values {sorted(odd)}",
            f"the data set {spec.name} declares {list(known)}",
            "correct the mask or the data spec",
        )
    table = np.zeros(256, np.uint8)
    table[list(spec.label_values)] = np.arange(len(spec.label_values))
    if spec.ignore is not None:
        table[spec.ignore] = IGNORED
    indices: np.ndarray = table[values]
    return indices


def _written(folder: Path, name: str) -> Path:
    """A mask or map, in whichever format it was written."""
    files = [folder / f"{name}{ending}" for ending in (*FORMATS.values(), PNG_SLICES)]
    return next((file for file in files if file.is_file()), files[0])
