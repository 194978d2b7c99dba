"""How slide classifiers are compared: by accuracy over the same bags."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medssl.data.csv_table import read_table
from medssl.data.spec import DataSpec
from medssl.pipeline.comparison import Comparison, Result
from medssl.pipeline.results import read_summary


class SlideComparison(Comparison):
    """By accuracy over bags."""

    score = "accuracy"
    ranked = "accuracy"
    shown = {  # noqa: RUF012 - a ClassVar of the base
        "auc": "AUC",
        "ece": "ECE",
        "optimistic_accuracy": "optimistic accuracy",
        "optimistic_auc": "optimistic AUC",
        "patch_auc": "instance AUC",
        "keys_found": "keys among the first",
    }

    def read(self, folder: Path) -> tuple[Mapping[str, float], Any]:
        """Scores by name, and whether each bag was called right."""
        rows = read_table(folder / "scores.csv")
        right = {row["slide"]: float(row["truth"] == row["prediction"]) for row in rows}
        return read_summary(folder), right

    def introduction(self, specs: Sequence[DataSpec]) -> str:
        """What the tables show."""
        return (
            "Accuracy is over all test bags of all folds, each bag with its mean over the seeds; "
            "epoch and threshold are chosen on validation bags. AUC is the mean over folds and "
            "seeds (standard deviation over seeds). *Optimistic*: epoch and threshold chosen on "
            "the test bags of each fold, as published tables often are; no estimate of anything."
        )

    def items(self, run: Result) -> Mapping[str, float]:
        """1 for each bag that was called right, else 0."""
        found: dict[str, float] = run.scores
        return found
