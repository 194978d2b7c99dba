"""The evaluation stage of slides: calls on held-out bags as CSV, HTML and MLflow entries."""

import csv
import io
from collections.abc import Mapping, Sequence

from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.slides.bags import SlideBag, instance_labels
from medssl.pipeline.slides.fold import Calls, read_calls
from medssl.pipeline.slides.instances import instance_scores, key_numbers
from medssl.pipeline.slides.plan import SlidePlan
from medssl.pipeline.slides.scores import BagCall, fold_calls, optimistic, summarise
from medssl.pipeline.slides.train import fold_folder
from medssl.pipeline.stage import read_json, write_text
from medssl.train.fingerprint import code_version
from medssl.train.loop import choose_device
from medssl.train.slide_checkpoint import load_slide_checkpoint
from medssl.train.track import Tracker

SCORES = "scores.csv"


def evaluate_stage(
    plan: SlidePlan, bags: Mapping[str, SlideBag], parent: str | None, reporter: QuietReporter
) -> dict[str, float]:
    """Score the held-out bags; returns the numbers by name."""
    stage, config = plan.evaluate, plan.config
    if stage.done:
        reporter.note(f"{config.label}: evaluated already, in {stage.folder}")
        kept: dict[str, float] = read_json(stage.folder / "done.json")["summary"]
        return kept
    stage.begin(config.resolved(), plan.splits_json())
    folds = [read_calls(fold_folder(plan, number)) for number in range(len(plan.folds))]
    calls, numbers = score(plan, folds, bags)
    tags = {"stage": "evaluate", "method": config.pipeline.method.name, "code": code_version()}
    name = f"evaluate {config.label}"
    with Tracker(stage.folder, config.pipeline.name, name, parent, config.flat(), tags) as tracker:
        write_text(stage.folder / SCORES, calls_csv(calls, config.classes))
        tracker.metrics(1, numbers)
        tracker.artifact(stage.folder / SCORES)
        run_id = tracker.run_id
    stage.finish(run_id=run_id, summary=numbers)
    return numbers


def score(
    plan: SlidePlan, folds: Sequence[Calls], bags: Mapping[str, SlideBag]
) -> tuple[list[BagCall], dict[str, float]]:
    """The calls on all held-out bags, and their numbers by name."""
    settings = plan.config.pipeline.evaluate
    truth = {bag.id: bag.label for bag in bags.values() if bag.label is not None}
    calls = [call for number, fold in enumerate(folds) for call in fold_calls(number, fold, truth)]
    numbers = summarise(calls, settings.bootstrap) | optimistic(folds, truth)
    return calls, numbers | _instances(plan, bags)


def _instances(plan: SlidePlan, bags: Mapping[str, SlideBag]) -> dict[str, float]:
    """Numbers of instances, where the held-out bags have labels for theirs."""
    device = choose_device(plan.config.pipeline.train.device)
    cases = {case.id: case for case in plan.cases}
    scores, labels = [], []
    for number, split in enumerate(plan.folds):
        known = {name: instance_labels(cases[name], bags[name]) for name in split.test}
        if all(one is None for one in known.values()):
            continue
        folder = fold_folder(plan, number) / "checkpoint" / "best"
        head = load_slide_checkpoint(folder)[0].head.to(device)
        for name, truth in known.items():
            found = None if truth is None else instance_scores(head, bags[name], device)
            if found is not None and truth is not None:
                scores.append(found)
                labels.append(truth)
    return key_numbers(scores, labels, plan.config.pipeline.evaluate.top) if scores else {}


def calls_csv(calls: Sequence[BagCall], classes: Sequence[str]) -> str:
    """A row per bag, with a column of probability per class."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "fold", "truth", "prediction", "threshold", *classes])
    for call in calls:
        row = [call.id, call.fold, classes[call.truth], classes[call.prediction], call.threshold]
        writer.writerow(row + [f"{value:.6f}" for value in call.probability])
    return text.getvalue()
