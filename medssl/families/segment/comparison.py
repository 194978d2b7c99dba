"""How runs of segmentation are compared: by Dice over the same cases."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medssl.data.spec import DataSpec
from medssl.errors import DataError
from medssl.evaluate.statistics import bootstrap_interval, paired_difference
from medssl.families.segment.results import COMPARED, CaseTable, read_scores
from medssl.families.segment.study_page import draw_curve, sections
from medssl.pipeline.comparison import Comparison
from medssl.pipeline.results import Result, read_summary
from medssl.pipeline.study import Cell, Study


class SegmentComparison(Comparison):
    """By Dice over cases."""

    heads = ("Dice [95 %]", "HD95 mm", "ASD mm")
    difference_heads = ("- {}", "p")

    def read(self, folder: Path) -> tuple[Mapping[str, float], Any]:
        """Means by name, and the scores of the cases."""
        table = CaseTable(read_scores(folder / "scores.csv"))
        if not set(table.metrics) >= COMPARED:
            raise DataError(f"{folder / 'scores.csv'} lacks a score")
        return read_summary(folder), table

    def cells(self, run: Result) -> list[str]:
        """Mean Dice with its interval over cases, and distances."""
        dice = list(run.scores.values("dice").values())
        low, high = bootstrap_interval(dice, 2000, np.random.default_rng(0))
        mean = run.scores.mean
        return [
            f"{mean('dice'):.3f} [{low:.3f}, {high:.3f}]",
            f"{mean('hd95'):.2f}",
            f"{mean('asd'):.2f}",
        ]

    def difference(self, run: Result, reference: Result) -> list[str]:
        """Of mean Dice, with its interval and the p-value of Wilcoxon's signed-rank test."""
        mine, theirs = run.scores.values("dice"), reference.scores.values("dice")
        common = sorted(set(mine) & set(theirs))
        if len(common) < 2:
            return ["", ""]
        found = paired_difference(
            [mine[case] for case in common],
            [theirs[case] for case in common],
            np.random.default_rng(0),
        )
        return [f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]", f"{found.p:.2g}"]

    def introduction(self, study: Study, specs: Sequence[DataSpec]) -> str:
        """What the tables show."""
        return (
            f"Data: {specs[0].title}. Scores are Dice on the held-out test cases, mean over "
            "classes; each case enters with its mean over the seeds."
        )

    def sections(self, study: Study, results: Mapping[Cell, Result]) -> list[str]:
        """A table per label budget."""
        return sections(study, results)

    def columns(self, run: Result) -> Mapping[str, float]:
        """The number of cases, and the mean of every score that all of them have."""
        table: CaseTable = run.scores
        return {"cases": len(table.cases), **{name: table.mean(name) for name in table.metrics}}

    def draw(self, study: Study, results: Mapping[Cell, Result], folder: Path) -> None:
        """The learning curve."""
        draw_curve(study, results, folder)
