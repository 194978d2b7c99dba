"""The evaluation stage of radiographs: grades against the truth, as CSV, HTML and MLflow entries.

The grades of the test images are read here and nowhere before.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

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
from medssl.evaluate.grading import GradeScores, score_grades
from medssl.evaluate.ranking import measured
from medssl.evaluate.report import Picture
from medssl.evaluate.saliency import draw_saliency, saliency
from medssl.families.grade.cohort import GradePlan
from medssl.families.grade.config import GradeEvaluateSettings
from medssl.families.grade.predict import CROSS_VALIDATION, GRADES, model_of
from medssl.infer.grade import calibrated
from medssl.networks.ensemble import Ensemble
from medssl.networks.grader import Grader
from medssl.pipeline.plan import Job
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.sections import overridden
from medssl.train.grade_checkpoint import load_grade_checkpoint
from medssl.train.track import Tracker

SCORES, REPORT = "scores.csv", "report.html"


def evaluate(job: Job, tracker: Tracker) -> dict[str, Any]:
    """Score the test images, and beside them those that folds left out, where both exist.

    The crops show what speaks for a grade.
    """
    plan: GradePlan = job.plan
    folder, cohort = plan.folder("evaluate"), plan.cohort
    beside, numbers, files = "", dict[str, float](), [SCORES, REPORT]
    if cohort.folds and cohort.split.test:
        images, found = _scored(plan, CROSS_VALIDATION)
        write_grades(folder / CROSS_VALIDATION, images, plan.config.grades)
        files.append(CROSS_VALIDATION)
        numbers = {f"cross_validation/{name}": value for name, value in found.flat().items()}
        accuracy, kappa = found.balanced_accuracy, found.kappa
        beside = (
            f"balanced accuracy {accuracy.value:.3f} [{accuracy.low:.3f}, {accuracy.high:.3f}], "
            f"quadratic kappa {kappa.value:.3f} [{kappa.low:.3f}, {kappa.high:.3f}]"
        )
    report = _report(plan, job.data, beside)
    write_grades(folder / SCORES, report.images, plan.config.grades)
    write_grade_report(folder / REPORT, report)
    for path in files:
        tracker.artifact(folder / path)
    numbers |= {"ece_uncalibrated": report.uncalibrated_error, "temperature": report.temperature}
    return {"summary": report.scores.flat() | numbers}


def _scored(plan: GradePlan, table: str) -> tuple[list[GradedImage], GradeScores]:
    """The images of a table of the prediction stage with their true grades, and their scores."""
    settings = plan.config.pipeline.evaluate
    said = read_grades(plan.folder("predict") / table)
    names = [image.id for image in said]
    truths = plan.cohort.grades_of(names)
    truth = [truths[name] for name in names]
    probability = np.array([image.probability for image in said])
    scores = score_grades(
        probability,
        np.array(truth),
        settings.bootstrap,
        np.random.default_rng(0),
        settings.disease_from,
        metrics=settings.metrics,
        folds=plan.cohort.folds_of(names),
    )
    return graded(names, probability, truth), scores


def _report(plan: GradePlan, crops: np.ndarray, beside: str) -> GradeReport:
    from medssl.evaluate.class_metrics import CalibrationError

    config, cohort = plan.config, plan.cohort
    settings = config.pipeline.evaluate
    images, scores = _scored(plan, GRADES)
    models = {number: model_of(plan, number) for number in {cohort.fold_of(i.id) for i in images}}
    # A logarithm differs from its logits by a constant, so this undoes the temperature.
    before = [
        np.log(np.clip(image.probability, 1e-300, None)) * models[cohort.fold_of(image.id)][1]
        for image in images
    ]
    truth = np.array([image.truth for image in images])
    temperature = load_grade_checkpoint(plan.model)[1].temperature
    return GradeReport(
        title=config.pipeline.title or config.pipeline.name,
        spec=config.spec,
        grades=config.grades,
        images=images,
        scores=scores,
        uncalibrated_error=measured(CalibrationError(), calibrated(np.array(before), 1.0), truth),
        temperature=temperature,
        disease_from=settings.disease_from,
        resamples=settings.bootstrap,
        patients_known=cohort.patients_known,
        pictures=list(_pictures(plan, crops, images, models)),
        origin=plan.origin(_curves(plan), beside),
        chosen_on=_chosen_on(plan, temperature),
    )


def _chosen_on(plan: GradePlan, temperature: float) -> str:
    """Which images chose the temperature."""
    cohort = plan.cohort
    if cohort.split.validation:
        return f"the {len(cohort.split.validation)} validation images"
    if temperature != 1:
        return "the images that folds left out, for each fold those of the others"
    return ""


def _pictures(
    plan: GradePlan,
    crops: np.ndarray,
    images: Sequence[GradedImage],
    models: Mapping[int | None, tuple[Ensemble, float]],
) -> Iterator[Picture]:
    """Saliency of the surest right image of each grade, and of the farthest wrong ones.

    Of several networks, the mean.
    """
    chosen = _chosen(images, plan.config.pipeline.evaluate.overlays)
    grades, views = plan.config.grades, plan.config.picture.views
    for rank, image in chosen:
        (place,) = plan.cohort.places([image.id])
        own, grade = crops[place], torch.tensor([image.prediction])
        network, _ = models[plan.cohort.fold_of(image.id)]
        view = evaluation_view(torch.from_numpy(own[None].copy()))
        maps = [saliency(cast("Grader", one), view, grade)[0] for one in network.members]
        title = f"{image.id}: what speaks for {grades[image.prediction]}"
        yield Picture(rank, image.id, draw_saliency(own, np.mean(maps, axis=0), title, views))


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
