"""The evaluation stage of slides: calls on held-out bags as CSV, HTML and MLflow entries."""

from collections.abc import Mapping, Sequence

import numpy as np

from medssl.data.spec import DataSpec
from medssl.evaluate.classification import score_slides
from medssl.evaluate.froc import froc_curve
from medssl.evaluate.report import Origin, Picture
from medssl.evaluate.slide_report import (
    SlideData,
    SlideReport,
    slide_rows,
    write_slide_report,
    write_slide_scores,
)
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.slides.bags import SlideBag
from medssl.pipeline.slides.fold import read_calls
from medssl.pipeline.slides.instances import InstanceRecord
from medssl.pipeline.slides.plan import SlidePlan
from medssl.pipeline.slides.scores import BagCall, fold_calls, optimistic, summarise
from medssl.pipeline.slides.train import fold_folder
from medssl.pipeline.stage import read_json
from medssl.train.fingerprint import code_version
from medssl.train.loop import choose_device
from medssl.train.slide_checkpoint import load_slide_checkpoint
from medssl.train.track import Tracker

SCORES, REPORT = "scores.csv", "report.html"


def evaluate_stage(
    plan: SlidePlan, bags: Mapping[str, SlideBag], parent: str | None, reporter: QuietReporter
) -> dict[str, float]:
    """Score the held-out bags; returns the numbers by name."""
    stage, config = plan.evaluate, plan.config
    if stage.done:
        reporter.note(f"{config.label}: evaluated already, in {stage.folder}")
        kept: dict[str, float] = read_json(stage.folder / "done.json", "summary")["summary"]
        return kept
    stage.begin(config.resolved(), plan.splits_json())
    settings = config.pipeline.evaluate
    truth = {bag.id: bag.label for bag in bags.values() if bag.label is not None}
    folds = [read_calls(fold_folder(plan, number)) for number in range(len(plan.folds))]
    calls = [call for number, fold in enumerate(folds) for call in fold_calls(number, fold, truth)]
    record = _instances(plan, bags)
    numbers = summarise(calls, settings.bootstrap) | optimistic(folds, truth) | record.flat()
    report = _report(plan, calls, record)
    numbers |= {"ece": report.scores.ece.value, "brier": report.scores.brier.value}
    tags = {"stage": "evaluate", "method": config.pipeline.method.name, "code": code_version()}
    name = f"evaluate {config.label}"
    with Tracker(stage.folder, config.pipeline.name, name, parent, config.flat(), tags) as tracker:
        write_slide_scores(stage.folder / SCORES, report.rows, config.classes)
        write_slide_report(stage.folder / REPORT, report)
        tracker.metrics(1, numbers)
        for path in (SCORES, REPORT):
            tracker.artifact(stage.folder / path)
        run_id = tracker.run_id
    stage.finish(run_id=run_id, summary=numbers)
    return numbers


def _instances(plan: SlidePlan, bags: Mapping[str, SlideBag]) -> InstanceRecord:
    """What each fold's classifier says of the instances of its held-out bags."""
    device = choose_device(plan.config.pipeline.train.device)
    cases = {case.id: case for case in plan.cases}
    record = InstanceRecord(plan.config.pipeline.evaluate.top)
    for number, split in enumerate(plan.folds):
        folder = fold_folder(plan, number) / "checkpoint" / "best"
        head = load_slide_checkpoint(folder)[0].head.to(device)
        for name in split.test:
            record.add(cases[name], bags[name], head, device)
    return record


def _report(plan: SlidePlan, calls: Sequence[BagCall], record: InstanceRecord) -> SlideReport:
    config, settings = plan.config, plan.config.pipeline.evaluate
    probability = np.array([call.probability for call in calls])
    truth = np.array([call.truth for call in calls])
    predicted = np.array([call.prediction for call in calls])
    thresholds = {call.threshold for call in calls}
    scores = score_slides(
        probability,
        truth,
        settings.bootstrap,
        np.random.default_rng(0),
        threshold=calls[0].threshold,
        predicted=predicted if len(thresholds) > 1 else None,
    )
    validation = sum(len(fold.validation) for fold in plan.folds)
    return SlideReport(
        title=config.pipeline.title or config.pipeline.name,
        data=slide_data(config.spec, "slide" if config.tiled else "bag"),
        classes=config.classes,
        rows=slide_rows([call.id for call in calls], probability, truth, predicted),
        scores=scores,
        resamples=settings.bootstrap,
        threshold_source=f"chosen on {validation} validation {'slides' if config.tiled else 'bags'}"
        if settings.threshold == "validation"
        else "set beforehand",
        pictures=_pictures(plan, calls),
        froc=froc_curve(record.hits) if any(len(one.lesions) for one in record.hits) else None,
        patches=record.scores(),
        origin=_origin(plan),
    )


def slide_data(spec: DataSpec, unit: str) -> SlideData:
    """What a report says of the data set."""
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
        path = plan.predict.folder / f"{call.id}.png"
        if path.is_file():
            found.append(Picture(rank, call.id, path.read_bytes()))
    return found


def _origin(plan: SlidePlan) -> Origin:
    config, folds = plan.config, plan.folds
    roles = ("labelled", "validation", "test")
    return Origin(
        label=config.label,
        method=config.pipeline.method.name,
        paper=config.method.paper,
        checkpoint="best",
        roles={role: sum(len(getattr(fold, role)) for fold in folds) for role in roles},
        split_hash=", ".join(fold.hash for fold in folds),
        code=code_version(),
        config=(plan.evaluate.folder / "config.yaml").read_text(encoding="utf-8"),
    )
