"""The evaluation stage of slides: calls on held-out bags as CSV, HTML and MLflow entries."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medssl.atomic import make_folder
from medssl.data.classes import declared_classes
from medssl.data.layouts import find_cases
from medssl.data.spec import DataSpec
from medssl.device import choose_device
from medssl.errors import DataError
from medssl.evaluate.classification import score_slides
from medssl.evaluate.froc import froc_curve
from medssl.evaluate.report import Picture
from medssl.evaluate.score import flat_scores
from medssl.evaluate.slide_calls import CallsReport, read_calls_csv, write_calls_report
from medssl.evaluate.slide_report import (
    SlideData,
    SlideReport,
    slide_rows,
    write_slide_report,
    write_slide_scores,
)
from medssl.families.slide.cohort import SlideBag, SlidePlan
from medssl.families.slide.config import SlideEvaluateSettings
from medssl.families.slide.predict import CALLS
from medssl.families.slide.scores import (
    BagCall,
    InstanceRecord,
    fold_calls,
    optimistic,
    summarise,
)
from medssl.families.slide.train import read_calls, trainings
from medssl.pipeline.plan import Job
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.sections import overridden
from medssl.train.slide_checkpoint import load_slide_checkpoint
from medssl.train.track import Tracker

SCORES, REPORT = "scores.csv", "report.html"


def evaluate(job: Job, tracker: Tracker) -> dict[str, Any]:
    """Score the held-out bags; where nothing is held out, show the calls without scores."""
    plan: SlidePlan = job.plan
    folder = plan.folder("evaluate")
    if not plan.cohort.test:
        write_calls_report(folder / REPORT, _told(plan))
        tracker.artifact(folder / REPORT)
        return {"summary": {}}
    report, numbers = _scored(plan, job.data)
    write_slide_scores(folder / SCORES, report.rows, plan.config.classes)
    write_slide_report(folder / REPORT, report)
    for path in (SCORES, REPORT):
        tracker.artifact(folder / path)
    return {"summary": numbers}


def _told(plan: SlidePlan) -> CallsReport:
    """The calls of a run that held nothing out."""
    config, called = plan.config, plan.folder("predict")
    rows = read_calls_csv(called / CALLS)
    drawn = [called / f"{row['slide']}.png" for row in rows[: config.pipeline.evaluate.pictures]]
    return CallsReport(
        title=config.pipeline.title or config.pipeline.name,
        data=_data(config.spec, "slide" if config.tiled else "bag"),
        classes=config.classes,
        rows=rows,
        pictures=[Picture("", path.stem, path.read_bytes()) for path in drawn if path.is_file()],
        origin=plan.origin(),
    )


def evaluate_calls(
    predictions: Path,
    spec: DataSpec,
    out: Path,
    reporter: QuietReporter | None = None,
    overrides: Sequence[str] = (),
) -> str:
    """Score calls that `medssl predict` wrote against the classes of a data set.

    Writes scores.csv and report.html into `out`; returns the scores in words.

    Args:
        predictions: calls.csv, or the folder that holds it; rows are named after slides.
        overrides: keys of the `evaluate` section, e.g. "metrics=[torchmetrics:MulticlassF1Score]".

    Raises:
        UsageError: a key, or a metric, is not known.
        DataError: it cannot be read, has other classes, or calls no slide of the data set.
    """
    settings = overridden(SlideEvaluateSettings, overrides, "evaluate.")
    path = predictions / CALLS if predictions.is_dir() else predictions
    classes = declared_classes(spec)
    rows = read_calls_csv(path)
    if not set(classes) <= set(rows[0]):
        raise DataError(
            f"{path} has no probabilities of {', '.join(classes)}",
            f"these are the classes of {spec.name}",
            "check --data",
        )
    truths = {case.id: case.extra.get("class") for case in find_cases(spec)}
    known = [row for row in rows if truths.get(row["slide"]) is not None]
    if not known:
        raise DataError(
            f"{path} calls no slide of {spec.name} whose class is known",
            "rows are named after the slides",
            "check the table and --data",
        )
    truth = np.array([truths[row["slide"]] for row in known])
    probability = np.array([[float(row[name]) for name in classes] for row in known])
    predicted = np.array([classes.index(row["prediction"]) for row in known])
    scores = score_slides(
        probability,
        truth,
        settings.bootstrap,
        np.random.default_rng(0),
        threshold=float(known[0]["threshold"]),
        predicted=predicted,
        metrics=settings.metrics,
    )
    report = SlideReport(
        title=spec.title,
        data=_data(spec, "slide"),
        classes=classes,
        rows=slide_rows([row["slide"] for row in known], probability, truth, predicted),
        scores=scores,
        resamples=settings.bootstrap,
    )
    make_folder(out)
    write_slide_scores(out / SCORES, report.rows, classes)
    write_slide_report(out / REPORT, report)
    further = "".join(f", {name} {score.value:.3f}" for name, score in scores.further.items())
    return (
        f"{len(known)} of {len(rows)} slides: balanced accuracy "
        f"{scores.balanced_accuracy.value:.3f}, AUC {scores.auc.value:.3f}{further}\n"
        f"scores   {out / SCORES}\nreport   {out / REPORT}"
    )


def _scored(plan: SlidePlan, bags: Mapping[str, SlideBag]) -> tuple[SlideReport, dict[str, float]]:
    config, settings = plan.config, plan.config.pipeline.evaluate
    known = {bag.id: bag.label for bag in bags.values() if bag.label is not None}
    folds = [read_calls(folder) for folder, _ in trainings(plan)]
    calls = [call for number, fold in enumerate(folds) for call in fold_calls(number, fold, known)]
    record = _instances(plan, bags)
    probability = np.array([call.probability for call in calls])
    truth = np.array([call.truth for call in calls])
    predicted = np.array([call.prediction for call in calls])
    scores = score_slides(
        probability,
        truth,
        settings.bootstrap,
        np.random.default_rng(0),
        threshold=calls[0].threshold,
        predicted=predicted if len({call.threshold for call in calls}) > 1 else None,
        metrics=settings.metrics,
        folds=np.array([call.fold for call in calls]) if plan.cohort.folds else None,
    )
    validation = sum(len(split.validation) for _, split in trainings(plan))
    chosen = f"chosen on {validation} validation {'slides' if config.tiled else 'bags'}"
    report = SlideReport(
        title=config.pipeline.title or config.pipeline.name,
        data=_data(config.spec, "slide" if config.tiled else "bag"),
        classes=config.classes,
        rows=slide_rows([call.id for call in calls], probability, truth, predicted),
        scores=scores,
        resamples=settings.bootstrap,
        threshold_source=chosen if settings.threshold == "validation" else "set beforehand",
        pictures=_pictures(plan, calls),
        froc=froc_curve(record.hits) if any(len(one.lesions) for one in record.hits) else None,
        patches=record.scores(),
        origin=plan.origin(),
    )
    numbers = summarise(calls, settings.bootstrap) | optimistic(folds, known) | record.flat()
    numbers |= {"ece": scores.ece.value, "brier": scores.brier.value}
    return report, numbers | flat_scores(scores.further)


def _instances(plan: SlidePlan, bags: Mapping[str, SlideBag]) -> InstanceRecord:
    """What each fold's classifier says of the instances of its held-out bags."""
    device = choose_device(plan.config.pipeline.train.device)
    cases = {case.id: case for case in plan.cohort.cases}
    record = InstanceRecord(plan.config.pipeline.evaluate.top)
    for folder, split in trainings(plan):
        head = load_slide_checkpoint(folder / "checkpoint" / "best")[0].head.to(device)
        for name in split.test:
            record.add(cases[name], bags[name], head, device)
    return record


def _data(spec: DataSpec, unit: str) -> SlideData:
    return SlideData(spec.title, spec.licence, spec.citation, unit, spec.simulated)


def _pictures(plan: SlidePlan, calls: Sequence[BagCall]) -> list[Picture]:
    """Heat maps of the surest right and wrong calls."""

    def sure(call: BagCall) -> float:
        return -max(call.probability)

    wrong = sorted((call for call in calls if not call.right), key=sure)
    right = sorted((call for call in calls if call.right), key=sure)
    chosen = [("wrong", call) for call in wrong] + [("right", call) for call in right]
    found = []
    for rank, call in chosen[: plan.config.pipeline.evaluate.pictures]:
        path = plan.folder("predict") / f"{call.id}.png"
        if path.is_file():
            found.append(Picture(rank, call.id, path.read_bytes()))
    return found
