"""How runs of segmentation are compared: by Dice over the same cases."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medssl.data.spec import DataSpec
from medssl.errors import DataError
from medssl.families.segment.results import COMPARED, CaseTable, read_scores
from medssl.pipeline.comparison import Comparison, Result
from medssl.pipeline.results import read_summary


class SegmentComparison(Comparison):
    """By Dice over cases."""

    score = "Dice"
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
            f"Data: {specs[0].title}. Scores are of the held-out test cases, mean over classes; "
            "each case enters with its mean over the seeds."
        )

    def items(self, run: Result) -> Mapping[str, float]:
        """Dice of each case."""
        table: CaseTable = run.scores
        return table.values("dice")

    def columns(self, run: Result) -> Mapping[str, float]:
        """The number of cases, and the mean of every score that all of them have."""
        table: CaseTable = run.scores
        return {"cases": len(table.cases), **{name: table.mean(name) for name in table.metrics}}
