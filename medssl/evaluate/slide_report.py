"""One self-contained HTML page on how well slides were classified, and the table behind it.

Legend: S slides, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medssl.atomic import write_text
from medssl.data.csv_table import table_text
from medssl.evaluate.classification import SCORES, SlideScores
from medssl.evaluate.froc import FrocCurve, froc_score, sensitivities
from medssl.evaluate.further_classes import further_rows
from medssl.evaluate.page import render_page
from medssl.evaluate.report import FEW_CASES, Origin, Picture
from medssl.evaluate.score import Score
from medssl.evaluate.slide_figures import draw_calibration, draw_confusion, draw_froc, draw_roc

LOWER_IS_BETTER = frozenset({"brier", "ece"})


@dataclass(frozen=True)
class SlideRow:
    """One slide.

    Attributes:
        slide: its id; never a patient's name.
        truth, prediction: class indices.
        probability: of each of the K classes.
    """

    slide: str
    truth: int
    prediction: int
    probability: tuple[float, ...]


@dataclass(frozen=True)
class SlideData:
    """What the page says of the data set.

    Attributes:
        title, licence, citation: as in its data spec.
        unit: what is classified, in the singular, e.g. "slide" or "bag".
        simulated: whether the data are made up; the page then says so before any number.
    """

    title: str
    licence: str
    citation: str = ""
    unit: str = "slide"
    simulated: bool = False


@dataclass(frozen=True)
class SlideReport:
    """All that the page shows.

    Attributes:
        title: heading, e.g. the pipeline's title.
        classes: K names.
        rows: every scored slide.
        scores: of `rows`.
        resamples: of the bootstraps in `scores`.
        threshold_source: where the threshold comes from, e.g. "chosen on 54 validation slides".
        pictures: heat maps of chosen slides; `case` is the slide's id.
        froc: of the slides with outlined lesions.
        patches: further scores with their names, e.g. the area over tiles.
        origin: the run that predicted.
    """

    title: str
    data: SlideData
    classes: tuple[str, ...]
    rows: Sequence[SlideRow]
    scores: SlideScores
    resamples: int
    threshold_source: str = ""
    pictures: Sequence[Picture] = ()
    froc: FrocCurve | None = None
    patches: Sequence[tuple[str, Score]] = ()
    origin: Origin | None = None


def slide_rows(
    slides: Sequence[str], probability: np.ndarray, truth: np.ndarray, predicted: np.ndarray
) -> list[SlideRow]:
    """Rows from arrays: [S, K] probabilities, [S] true and [S] predicted classes."""
    columns = zip(slides, truth, predicted, probability, strict=True)
    return [SlideRow(s, int(t), int(p), tuple(map(float, each))) for s, t, p, each in columns]


def write_slide_scores(path: Path, rows: Sequence[SlideRow], classes: Sequence[str]) -> None:
    """Write scores.csv, atomically: slide, truth and prediction by name, "probability CLASS" ...

    Numbers have all their digits, so reading them back changes nothing.
    """
    head = ["slide", "truth", "prediction", *(f"probability {name}" for name in classes)]
    found = [
        [row.slide, classes[row.truth], classes[row.prediction], *row.probability] for row in rows
    ]
    write_text(path, table_text(head, found))


def write_slide_report(path: Path, report: SlideReport) -> None:
    """Write the page, atomically."""
    write_text(path, render(report))


def render(report: SlideReport) -> str:
    """The page as text; it refers to nothing outside itself."""
    values: dict[str, Any] = {
        "report": report,
        "origin": report.origin,
        "scores": [
            *(
                (title, getattr(report.scores, key), "↓" if key in LOWER_IS_BETTER else "↑")
                for key, title in SCORES.items()
            ),
            *further_rows(report.scores.further),
        ],
        "wrong": sum(row.truth != row.prediction for row in report.rows),
        "rows": sorted(report.rows, key=_certainty),
        "by_slide": {row.slide: row for row in report.rows},
        "figures": _figures(report),
        "froc": _froc(report.froc) if report.froc else None,
        "few": min(report.scores.counts) < FEW_CASES,
    }
    return render_page("slide_report.html.j2", values, {})


def _certainty(row: SlideRow) -> float:
    """Probability of the true class; sorted by it, the most confident mistakes come first."""
    return row.probability[row.truth]


def _figures(report: SlideReport) -> list[tuple[str, bytes]]:
    probability = np.array([row.probability for row in report.rows])
    truth = np.array([row.truth for row in report.rows])
    scores = report.scores
    drawn = {
        "ROC curve": draw_roc(probability, truth, report.classes, scores.threshold),
        "Confusion matrix": draw_confusion(scores.confusion, report.classes),
        "Reliability diagram": draw_calibration(scores.calibration),
        "FROC curve": draw_froc(report.froc) if report.froc else None,
    }
    return [(name, png) for name, png in drawn.items() if png is not None]


def _froc(curve: FrocCurve) -> dict[str, Any]:
    names = ("1/4", "1/2", "1", "2", "4", "8")
    rates = zip(names, sensitivities(curve).values(), strict=True)
    return {"score": froc_score(curve), "rates": list(rates), "curve": curve}
