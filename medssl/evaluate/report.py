"""One self-contained HTML page on how well masks fit: open it, mail it, keep it with the paper."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from medssl.atomic import write_text
from medssl.data.spec import DataSpec
from medssl.evaluate.metric import Metric
from medssl.evaluate.page import render_page
from medssl.evaluate.settings import EvaluateSettings
from medssl.evaluate.summary import CaseScores, Mean, Row, Summary

STRIP = 150
"""Width of the dot strip of a class in the summary, pixels."""

FEW_CASES = 20
"""Below so many cases the page warns that bootstrap intervals are too narrow."""


@dataclass(frozen=True)
class Picture:
    """One case drawn, and why it was chosen, e.g. "worst"."""

    rank: str
    case: str
    png: bytes


@dataclass(frozen=True)
class Origin:
    """The run that made the masks.

    Attributes:
        label: in a few words, e.g. "tracoco, 8 labels, seed 0".
        method: its name.
        paper: where the method is published; may be empty.
        checkpoint: which weights predicted, "last" or "best".
        roles: number of cases by role in the split, e.g. {"labelled": 6, "test": 40}.
        split_hash: of that split.
        code: version that evaluated.
        config: resolved configuration, YAML.
        curves: PNG of the training curves, if training was logged.
        note: a sentence on how the scored cases were held out, where there is more to say.
        folds: how many models answered the scored cases; 0 where they were the same for all.
    """

    label: str
    method: str
    paper: str
    checkpoint: str
    roles: Mapping[str, int]
    split_hash: str
    code: str
    config: str
    curves: bytes | None = None
    note: str = ""
    folds: int = 0


@dataclass(frozen=True)
class Parts:
    """Of which cases only a part could be scored.

    Attributes:
        outlined: how many outline some structures alone.
        known: of each case with ignored voxels, the share of its voxels that are not.
    """

    outlined: int = 0
    known: Sequence[float] = ()


@dataclass(frozen=True)
class Report:
    """All that the page shows.

    Attributes:
        title: heading, e.g. the pipeline's title.
        settings: those that gave the scores.
        cases: every scored case.
        origin: None for masks that came without a run.
        without_mask: labelled cases that were to be scored but have no mask.
        units: of the size of each case's masks, see `medssl.infer.measure`; others are in ml.
        parts: of which cases only a part is scored.
    """

    title: str
    spec: DataSpec
    settings: EvaluateSettings
    summary: Summary
    cases: Sequence[CaseScores]
    pictures: Sequence[Picture] = ()
    origin: Origin | None = None
    without_mask: int = 0
    units: Mapping[str, str] = field(default_factory=dict)
    parts: Parts = Parts()


def write_report(path: Path, report: Report) -> None:
    """Write the page, atomically."""
    write_text(path, render(report))


def render(report: Report) -> str:
    """The page as text; it refers to nothing outside itself."""
    worst_first = sorted(report.cases, key=lambda case: case.mean("dice"))
    values: dict[str, Any] = {
        "report": report,
        "summary": report.summary,
        "origin": report.origin,
        "cases": worst_first,
        "several": len(report.summary.classes) > 1,
        "strip_width": STRIP,
        "strips": {row.name: _strip(row) for row in report.summary.rows},
        "known": fmean(report.parts.known) if report.parts.known else 1.0,
        "few": report.summary.overall.n < FEW_CASES,
        "outcomes": {"missed": "missed", "false_alarm": "false alarm", "absent": "absent"},
    }
    filters: dict[str, Callable[..., str]] = {
        "number": _number,
        "interval": _interval,
        "size": _size,
    }
    return render_page("report.html.j2", values, filters)


def _number(value: float, metric: Metric) -> str:
    """Three decimals for shares, two for distances."""
    return f"{value:.2f}" if metric.unit else f"{value:.3f}"


def _size(ml: float, unit: str) -> str:
    """A volume, or the area of what is a mm thick, with its unit."""
    if unit == "ml":
        return f"{ml:.2f} ml"
    return f"{1000 * ml:.0f} pixels" if unit == "pixels" else f"{1000 * ml:.4g} mm²"


def _interval(mean: Mean, metric: Metric) -> str:
    if math.isnan(mean.low):
        return "no interval"
    return f"{_number(mean.low, metric)} to {_number(mean.high, metric)}"


def _strip(row: Row) -> dict[str, Any]:
    """Where the Dice of each case, the mean and its interval lie on the strip, pixels."""
    mean = row.means["dice"]
    known = not math.isnan(mean.low)
    return {
        "dots": [round(value * STRIP, 1) for value in row.dice],
        "mean": round(mean.mean * STRIP, 1),
        "interval": [round(end * STRIP, 1) for end in (mean.low, mean.high)] if known else None,
    }
