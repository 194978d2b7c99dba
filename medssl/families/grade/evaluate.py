"""The evaluation stage of radiographs: grades against the truth, as CSV, HTML and MLflow entries.

The grades of the test images are read here and nowhere before.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medssl.atomic import make_folder
from medssl.data.classes import declared_classes
from medssl.data.layouts import find_cases
from medssl.data.radiograph.augment import evaluation_view
from medssl.data.spec import DataSpec
from medssl.errors import DataError
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
from medssl.evaluate.ranking import measured
from medssl.evaluate.report import Picture
from medssl.evaluate.saliency import draw_saliency, saliency
from medssl.families.grade.cohort import GradePlan
from medssl.families.grade.config import GradeEvaluateSettings
from medssl.families.grade.predict import GRADES
from medssl.infer.grade import calibrated
from medssl.networks.grader import Grader
from medssl.pipeline.config import overridden
from medssl.pipeline.plan import Job
from medssl.pipeline.progress import QuietReporter
from medssl.train.grade_checkpoint import load_grade_checkpoint
from medssl.train.track import Tracker

SCORES, REPORT = "scores.csv", "report.html"


def evaluate(job: Job, tracker: Tracker) -> dict[str, Any]:
    """Score the test images; the crops show what speaks for a grade."""
    plan: GradePlan = job.plan
    folder = plan.folder("evaluate")
    report = _report(plan, job.data)
    write_grades(folder / SCORES, report.images, plan.config.grades)
    write_grade_report(folder / REPORT, report)
    for path in (SCORES, REPORT):
        tracker.artifact(folder / path)
    numbers = {"ece_uncalibrated": report.uncalibrated_error, "temperature": report.temperature}
    return {"summary": report.scores.flat() | numbers}


def _report(plan: GradePlan, crops: np.ndarray) -> GradeReport:
    from medssl.evaluate.class_metrics import CalibrationError

    config = plan.config
    settings = config.pipeline.evaluate
    said = read_grades(plan.folder("predict") / GRADES)
    truths = plan.cohort.grades_of("test")
    truth = [truths[image.id] for image in said]
    probability = np.array([image.probability for image in said])
    images = graded([image.id for image in said], probability, truth)
    network, found = load_grade_checkpoint(plan.model)
    # A logarithm differs from its logits by a constant, so this undoes the temperature.
    before = calibrated(np.log(probability.clip(1e-300)) * found.temperature, 1.0)
    scores = score_grades(
        probability,
        np.array(truth),
        settings.bootstrap,
        np.random.default_rng(0),
        settings.disease_from,
        metrics=settings.metrics,
    )
    return GradeReport(
        title=config.pipeline.title or config.pipeline.name,
        spec=config.spec,
        grades=config.grades,
        images=images,
        scores=scores,
        uncalibrated_error=measured(CalibrationError(), before, np.array(truth)),
        temperature=found.temperature,
        disease_from=settings.disease_from,
        resamples=settings.bootstrap,
        patients_known=plan.cohort.patients_known,
        pictures=list(_pictures(plan, crops, images, network)),
        origin=plan.origin(_curves(plan)),
    )


def _pictures(
    plan: GradePlan,
    crops: np.ndarray,
    images: Sequence[GradedImage],
    network: Grader,
) -> Iterator[Picture]:
    """Saliency of the surest right image of each grade, and of the farthest wrong ones."""
    chosen = _chosen(images, plan.config.pipeline.evaluate.overlays)
    place = {name: number for number, name in plan.cohort.places("test").items()}
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


def _curves(plan: GradePlan) -> bytes | None:
    return draw_curves(
        plan.logged(),
        "score",
        "validation: mean of quadratic kappa and balanced accuracy",
        {"pool_entropy": "entropy, nats", "pool_information": "information, nats"},
    )


def evaluate_grades(
    predictions: Path,
    spec: DataSpec,
    out: Path,
    reporter: QuietReporter | None = None,
    overrides: Sequence[str] = (),
) -> str:
    """Score grades that `medssl predict` wrote against the grades of a data set.

    Writes scores.csv into `out`; returns the scores in words.

    Args:
        predictions: grades.csv, or the folder that holds it; rows are named after files.
        overrides: keys of the `evaluate` section, e.g. "metrics=[torchmetrics:MulticlassF1Score]".

    Raises:
        UsageError: a key, or a metric, is not known.
        DataError: it cannot be read, has other grades, or grades no image of the data set.
    """
    settings = overridden(GradeEvaluateSettings, overrides, "evaluate.")
    path = predictions / GRADES if predictions.is_dir() else predictions
    grades = declared_classes(spec)
    try:
        said = read_grades(path)
    except (KeyError, ValueError):
        raise DataError(
            f"{path} is no table of grades", "", f"name the {GRADES} that `medssl predict` wrote"
        ) from None
    if said and len(said[0].probability) != len(grades):
        raise DataError(
            f"{path} has {len(said[0].probability)} grades and {spec.name} has {len(grades)}",
            "",
            "check --data",
        )
    truths = {case.id: case.extra["class"] for case in find_cases(spec)}
    known = [image for image in said if truths.get(image.id) is not None]
    if not known:
        raise DataError(
            f"{path} grades no image of {spec.name} whose grade is known",
            "rows are named after the images",
            "check the table and --data",
        )
    truth = [truths[image.id] for image in known]
    probability = np.array([image.probability for image in known])
    make_folder(out)
    write_grades(out / SCORES, graded([one.id for one in known], probability, truth), grades)
    given = probability, np.array(truth), settings.bootstrap, np.random.default_rng(0)
    disease_from = min(settings.disease_from, len(grades) - 1)
    found = score_grades(*given, disease_from, metrics=settings.metrics)
    scores = found.flat()
    further = "".join(f", {name} {score.value:.3f}" for name, score in found.further.items())
    return (
        f"{len(known)} of {len(said)} images: "
        f"balanced accuracy {scores['balanced_accuracy']:.3f} "
        f"[{scores['balanced_accuracy_low']:.3f}, {scores['balanced_accuracy_high']:.3f}], "
        f"quadratic kappa {scores['kappa']:.3f}{further}\nscores   {out / SCORES}"
    )
