"""How runs of segmentation are compared: by Dice over the same cases."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medssl.data.csv_table import read_table
from medssl.data.spec import DataSpec
from medssl.errors import DataError
from medssl.pipeline.comparison import Comparison, Result
from medssl.pipeline.results import read_summary

COMPARED = {"dice", "hd95", "asd"}
"""Scores that every case has."""


@dataclass(frozen=True)
class CaseTable:
    """The scores of one run.

    Attributes:
        cases: case to metric to its mean over foreground classes.
    """

    cases: dict[str, dict[str, float]]

    @property
    def metrics(self) -> list[str]:
        """Scores that every case has."""
        first, *others = self.cases.values()
        return [name for name in first if all(name in other for other in others)]

    def values(self, metric: str) -> dict[str, float]:
        """One metric by case."""
        return {case: found[metric] for case, found in self.cases.items()}

    def mean(self, metric: str) -> float:
        """Mean over all cases; none is left out."""
        return float(np.mean(list(self.values(metric).values())))


class SegmentComparison(Comparison):
    """By Dice over cases."""

    score = "Dice"
    ranked = "dice"
    shown = {"hd95": "HD95 mm", "asd": "ASD mm"}  # noqa: RUF012 - a ClassVar of the base

    def read(self, folder: Path) -> tuple[Mapping[str, float], Any]:
        """Means by name, and the scores of the cases."""
        table = CaseTable(read_scores(folder / "scores.csv"))
        if not set(table.metrics) >= COMPARED:
            raise DataError(f"{folder / 'scores.csv'} lacks a score")
        return read_summary(folder), table

    def introduction(self, specs: Sequence[DataSpec]) -> str:
        """What the tables show."""
        return (
            f"Data: {specs[0].title}. Scores are of cases that no arm learnt from, mean over "
            "classes; each case enters with its mean over the seeds."
        )

    def items(self, run: Result) -> Mapping[str, float]:
        """Dice of each case."""
        table: CaseTable = run.scores
        return table.values("dice")

    def columns(self, run: Result) -> Mapping[str, float]:
        """The number of cases, and the mean of every score that all of them have."""
        table: CaseTable = run.scores
        return {"cases": len(table.cases), **{name: table.mean(name) for name in table.metrics}}


def read_scores(path: Path) -> dict[str, dict[str, float]]:
    """Case to metric to mean over foreground classes, from a scores.csv.

    Raises:
        DataError: the file is missing, damaged or has no rows.
    """
    rows: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in read_table(path):
        for name, text in row.items():
            if name not in {"case", "class"} and (value := _number(text)) is not None:
                rows[row.get("case", "")][name].append(value)
    if not rows:
        raise DataError(f"{path} holds no scores", do="evaluate again")
    return {
        case: {name: float(np.mean(values)) for name, values in metrics.items()}
        for case, metrics in rows.items()
    }


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
