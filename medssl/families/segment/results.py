"""Scores of single cases, read back from the scores.csv of an evaluation."""

import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medssl.data.csv_table import read_table
from medssl.errors import DataError

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
