"""The evaluation stage of radiographs: grades against the truth, as CSV, HTML and MLflow entries.

The grades of the test images are read here and nowhere before.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from medssl.data.radiograph.augment import evaluation_view
from medssl.data.split import ROLES
from medssl.evaluate.calibration import calibration
from medssl.evaluate.curves import draw_curves
from medssl.evaluate.grade_report import (
    GradedImage,
    GradeReport,
    graded,
    read_grades,
    write_grade_report,
    write_grades,
)
from medssl.evaluate.grading import score_grades
from medssl.evaluate.report import Origin, Picture
from medssl.evaluate.saliency import draw_saliency, saliency
from medssl.infer.grade import calibrated
from medssl.networks.grader import Grader
from medssl.pipeline.evaluate import logged
from medssl.pipeline.grades.plan import GradePlan
from medssl.pipeline.grades.predict import GRADES, chosen_checkpoint
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.stage import read_json
from medssl.train.fingerprint import code_version
from medssl.train.grade_checkpoint import load_grade_checkpoint
from medssl.train.track import Tracker

SCORES, REPORT = "scores.csv", "report.html"


def evaluate_stage(
    plan: GradePlan, crops: np.ndarray, parent: str | None, reporter: QuietReporter
) -> dict[str, float]:
    """Score the test images; returns the numbers by name.

    Args:
        crops: [N, V, S, S] uint8 of all images, in the order of `plan.cases`.
        parent: MLflow run of the pipeline.
    """
    stage, config = plan.evaluate, plan.config
    if stage.done:
        reporter.note(f"{config.label}: evaluated already, in {stage.folder}")
        kept: dict[str, float] = read_json(stage.folder / "done.json", "summary")["summary"]
        return kept
    stage.begin(config.resolved(), plan.split.to_json())
    tags = {"stage": "evaluate", "method": config.pipeline.method.name, "split": plan.split.hash}
    name = f"evaluate {config.label}"
    with Tracker(stage.folder, config.pipeline.name, name, parent, config.flat(), tags) as tracker:
        report = _report(plan, crops)
        write_grades(stage.folder / SCORES, report.images, config.grades)
        write_grade_report(stage.folder / REPORT, report)
        summary = report.scores.flat() | {
            "ece_uncalibrated": report.uncalibrated_error,
            "temperature": report.temperature,
        }
        tracker.metrics(config.pipeline.train.steps, summary)
        for path in (SCORES, REPORT):
            tracker.artifact(stage.folder / path)
        run_id = tracker.run_id
    stage.finish(run_id=run_id, summary=summary)
    return summary


def _report(plan: GradePlan, crops: np.ndarray) -> GradeReport:
    config = plan.config
    settings = config.pipeline.evaluate
    said = read_grades(plan.predict.folder / GRADES)
    truths = plan.grades_of("test")
    truth = [truths[image.id] for image in said]
    probability = np.array([image.probability for image in said])
    images = graded([image.id for image in said], probability, truth)
    network, found = load_grade_checkpoint(chosen_checkpoint(plan))
    # A logarithm differs from its logits by a constant, so this undoes the temperature.
    before = calibrated(np.log(probability.clip(1e-300)) * found.temperature, 1.0)
    scores = score_grades(
        probability,
        np.array(truth),
        settings.bootstrap,
        np.random.default_rng(0),
        settings.disease_from,
    )
    return GradeReport(
        title=config.pipeline.title or config.pipeline.name,
        spec=config.spec,
        grades=config.grades,
        images=images,
        scores=scores,
        uncalibrated_error=calibration(before, np.array(truth)).error,
        temperature=found.temperature,
        disease_from=settings.disease_from,
        resamples=settings.bootstrap,
        patients_known=plan.patients_known,
        pictures=list(_pictures(plan, crops, images, network)),
        origin=_origin(plan),
    )


def _pictures(
    plan: GradePlan, crops: np.ndarray, images: Sequence[GradedImage], network: Grader
) -> Iterator[Picture]:
    """Saliency of the surest right image of each grade, and of the farthest wrong ones."""
    chosen = _chosen(images, plan.config.pipeline.evaluate.overlays)
    place = {name: number for number, name in plan.places("test").items()}
    grades, views = plan.config.grades, plan.config.pipeline.crop.views
    for rank, image in chosen:
        own = crops[place[image.id]]
        where = saliency(network, evaluation_view(torch.from_numpy(own[None].copy())))[0]
        title = f"{image.id}: what speaks for {grades[image.prediction]}"
        yield Picture(rank, image.id, draw_saliency(own, where, title, views))


def _chosen(images: Sequence[GradedImage], wrong: int) -> list[tuple[str, GradedImage]]:
    """Images to draw, and why."""
    if not wrong:
        return []

    def sure(image: GradedImage) -> float:
        return max(image.probability)

    def off(image: GradedImage) -> int:
        return abs(image.prediction - (image.truth or 0))

    right = sorted((image for image in images if not off(image)), key=sure, reverse=True)
    firsts = {image.prediction: image for image in reversed(right)}
    far = sorted((image for image in images if off(image)), key=lambda i: (-off(i), -sure(i)))
    return [("right", firsts[grade]) for grade in sorted(firsts)] + [
        ("wrong", image) for image in far[:wrong]
    ]


def _origin(plan: GradePlan) -> Origin:
    config, split = plan.config, plan.split
    return Origin(
        label=config.label,
        method=config.pipeline.method.name,
        paper=config.method.paper,
        checkpoint=config.pipeline.predict.checkpoint,
        roles={role: len(getattr(split, role)) for role in ROLES},
        split_hash=split.hash,
        code=code_version(),
        config=(plan.evaluate.folder / "config.yaml").read_text(encoding="utf-8"),
        curves=draw_curves(
            logged(plan.train.folder / "metrics.jsonl"),
            "score",
            "validation: mean of quadratic kappa and balanced accuracy",
            {"pool_entropy": "entropy, nats", "pool_information": "information, nats"},
        ),
    )
