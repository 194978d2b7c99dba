"""One self-contained HTML page on how well radiographs were graded, and the tables behind it.

Legend: S images, K grades.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medssl.atomic import write_text
from medssl.data.csv_table import read_table, table_text
from medssl.data.spec import DataSpec
from medssl.evaluate.further_classes import further_rows
from medssl.evaluate.grading import SCORES, GradeScores, disease_probability
from medssl.evaluate.page import render_page
from medssl.evaluate.report import FEW_CASES, Origin, Picture
from medssl.evaluate.slide_figures import draw_calibration, draw_confusion, draw_roc

LOWER_IS_BETTER = frozenset({"mse", "ece"})


@dataclass(frozen=True)
class GradedImage:
    """One image.

    Attributes:
        id: of the case; never a patient's name.
        prediction, truth: grade indices; the truth is None where it is not known.
        probability: of each of the K grades, calibrated.
    """

    id: str
    prediction: int
    probability: tuple[float, ...]
    truth: int | None = None


@dataclass(frozen=True)
class GradeReport:
    """All that the page shows.

    Attributes:
        title: heading, e.g. the pipeline's title.
        grades: K names.
        images: every scored image, each with its truth.
        scores: of `images`, with calibrated probabilities.
        uncalibrated_error: expected calibration error before the temperature.
        temperature: what logits were divided by, in the final model.
        disease_from: index of the least grade with the disease.
        resamples: of the bootstraps in `scores`.
        patients_known: whether the data set says which images are of one patient.
        pictures: saliency of chosen images; `case` is the image's id.
        chosen_on: the images that chose the temperature, in words; empty where it is 1 for none.
    """

    title: str
    spec: DataSpec
    grades: tuple[str, ...]
    images: Sequence[GradedImage]
    scores: GradeScores
    uncalibrated_error: float
    temperature: float
    disease_from: int
    resamples: int
    patients_known: bool
    pictures: Sequence[Picture]
    origin: Origin
    chosen_on: str = ""


def graded(
    ids: Sequence[str], probability: np.ndarray, truth: Sequence[int] | None = None
) -> list[GradedImage]:
    """Images with their most likely grades, from probabilities [S, K]."""
    known: Sequence[int | None] = [None] * len(ids) if truth is None else truth
    return [
        GradedImage(name, int(row.argmax()), tuple(map(float, row)), one)
        for name, row, one in zip(ids, probability, known, strict=True)
    ]


def write_grades(path: Path, images: Sequence[GradedImage], grades: Sequence[str]) -> None:
    """Write a CSV, atomically: image, truth where it is known, grade, "probability GRADE" ...

    Numbers have all their digits, so reading them back changes nothing.
    """
    told = all(image.truth is not None for image in images)
    head = ["image", *(["truth"] if told else []), "grade", *(f"probability {g}" for g in grades)]
    rows = []
    for image in images:
        truth = [] if image.truth is None or not told else [grades[image.truth]]
        rows.append([image.id, *truth, grades[image.prediction], *image.probability])
    write_text(path, table_text(head, rows))


def read_grades(path: Path) -> list[GradedImage]:
    """What `write_grades` wrote; grades are counted in the order of its columns.

    Raises:
        KeyError, ValueError: the file was not written by `write_grades`.
        DataError: it is missing or damaged.
    """
    found = read_table(path)
    start = "probability "
    grades = [name.removeprefix(start) for name in (found or [{}])[0] if name.startswith(start)]
    index = {name: number for number, name in enumerate(grades)}
    return [
        GradedImage(
            row["image"],
            index[row["grade"]],
            tuple(float(row[f"probability {grade}"]) for grade in grades),
            index[row["truth"]] if "truth" in row else None,
        )
        for row in found
    ]


def write_grade_report(path: Path, report: GradeReport) -> None:
    """Write the page, atomically."""
    write_text(path, render(report))


def render(report: GradeReport) -> str:
    """The page as text."""
    scores = report.scores
    disease = report.grades[report.disease_from]
    values: dict[str, Any] = {
        "report": report,
        "origin": report.origin,
        "disease": f"{disease} or more" if disease != report.grades[-1] else disease,
        "scores": [
            *(
                (title, getattr(scores, key), "↓" if key in LOWER_IS_BETTER else "↑")
                for key, title in SCORES.items()
            ),
            *further_rows(scores.further),
        ],
        "rows": list(zip(report.grades, scores.grades, strict=True)),
        "off": [_off(report.images, distance) for distance in (1, 2, 3)],
        "images": sorted(report.images, key=_certainty),
        "by_id": {image.id: image for image in report.images},
        "figures": _figures(report),
        "few": min(row.count for row in scores.grades) < FEW_CASES,
    }
    return render_page("grade_report.html.j2", values, {})


def _certainty(image: GradedImage) -> float:
    """Probability of the true grade; sorted by it, the most confident mistakes come first."""
    return image.probability[image.truth or 0]


def _off(images: Sequence[GradedImage], distance: int) -> int:
    """How many images are wrong by at least `distance` grades."""
    return sum(abs(image.prediction - (image.truth or 0)) >= distance for image in images)


def _figures(report: GradeReport) -> list[tuple[str, bytes]]:
    probability = np.array([image.probability for image in report.images])
    truth = np.array([image.truth for image in report.images])
    sick = disease_probability(probability, report.disease_from)
    either = np.stack([1 - sick, sick], axis=1)
    positive = (truth >= report.disease_from).astype(np.int64)
    disease = report.grades[report.disease_from]
    names = (f"below {disease}", f"{disease} or more")
    drawn = {
        "Confusion matrix": draw_confusion(report.scores.confusion, report.grades),
        "ROC curve of the disease": draw_roc(either, positive, names, None),
        "ROC curve of each grade": draw_roc(probability, truth, report.grades, None)
        if len(report.grades) > 2
        else None,
        "Reliability diagram": draw_calibration(report.scores.calibration),
    }
    return [(name, png) for name, png in drawn.items() if png is not None]
