"""One self-contained HTML page of calls without scores, where no slide was held out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medssl.atomic import write_text
from medssl.data.csv_table import read_table
from medssl.errors import DataError
from medssl.evaluate.page import render_page
from medssl.evaluate.report import Origin, Picture
from medssl.evaluate.slide_report import SlideData


@dataclass(frozen=True)
class CallsReport:
    """All that the page shows.

    Attributes:
        classes: K names.
        rows: of calls.csv.
        pictures: heat maps of the first slides.
    """

    title: str
    data: SlideData
    classes: tuple[str, ...]
    rows: Sequence[Mapping[str, str]]
    pictures: Sequence[Picture]
    origin: Origin


def read_calls_csv(path: Path) -> list[dict[str, str]]:
    """Rows of calls.csv: slide, prediction, threshold and a probability for each class.

    Raises:
        DataError: the file is missing, damaged, empty or another one.
    """
    rows = read_table(path)
    if not rows or not {"slide", "prediction", "threshold"} <= set(rows[0]):
        raise DataError(
            f"{path} is no table of calls", "", "name the calls.csv that `medssl predict` wrote"
        )
    return rows


def write_calls_report(path: Path, report: CallsReport) -> None:
    """Write the page, atomically; it refers to nothing outside itself."""
    values: dict[str, Any] = {"report": report, "origin": report.origin}
    write_text(path, render_page("slide_calls.html.j2", values))
