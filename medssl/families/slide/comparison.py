"""How slide classifiers are compared: by accuracy over the same bags."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medssl.data.csv_table import read_table
from medssl.data.spec import DataSpec
from medssl.evaluate.statistics import paired_difference
from medssl.families.slide.study_page import sections
from medssl.pipeline.comparison import Comparison
from medssl.pipeline.results import Result, read_summary
from medssl.pipeline.study import Cell, Study


class SlideComparison(Comparison):
    """By accuracy over the same bags."""

    heads = ("accuracy [95 %]", "AUC", "ECE")
    difference_heads = ("- {}", "p")

    def read(self, folder: Path) -> tuple[Mapping[str, float], Any]:
        """Scores by name, and whether each bag was called right."""
        rows = read_table(folder / "scores.csv")
        right = {row["slide"]: row["truth"] == row["prediction"] for row in rows}
        return read_summary(folder), right

    def cells(self, run: Result) -> list[str]:
        """Accuracy with its interval, area under the ROC curve, calibration error."""
        numbers = run.numbers
        interval = f"[{numbers['accuracy_low']:.3f}, {numbers['accuracy_high']:.3f}]"
        return [
            f"{numbers['accuracy']:.3f} {interval}",
            f"{numbers['auc']:.3f}",
            f"{numbers['ece']:.3f}",
        ]

    def difference(self, run: Result, reference: Result) -> list[str]:
        """Of accuracy, with its interval and the p-value of Wilcoxon's signed-rank test."""
        common = sorted(set(run.scores) & set(reference.scores))
        if len(common) < 2:
            return ["", ""]
        found = paired_difference(
            [float(run.scores[bag]) for bag in common],
            [float(reference.scores[bag]) for bag in common],
            np.random.default_rng(0),
        )
        return [f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]", f"{found.p:.2g}"]

    def introduction(self, study: Study, specs: Sequence[DataSpec]) -> str:
        """What the tables show."""
        return (
            "Accuracy is over all test bags of all folds, each bag with its mean over the seeds; "
            "epoch and threshold are chosen on validation bags. AUC is the mean over folds and "
            "seeds. *Optimistic*: epoch and threshold chosen on the test bags of each fold, as "
            "published tables often are; no estimate of anything."
        )

    def sections(self, study: Study, results: Mapping[Cell, Result]) -> list[str]:
        """A table per data set."""
        return sections(study, results)

    def columns(self, run: Result) -> Mapping[str, float]:
        """All numbers that there are."""
        return {name: value for name, value in sorted(run.numbers.items()) if np.isfinite(value)}
