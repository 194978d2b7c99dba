"""How graders are compared: by balanced accuracy and quadratic kappa over the same images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medssl.data.spec import DataSpec
from medssl.evaluate.grade_difference import accuracy_difference, kappa_difference
from medssl.evaluate.grade_report import read_grades
from medssl.families.grade.study_page import FOLDS, RESAMPLES, sections
from medssl.pipeline.comparison import Comparison
from medssl.pipeline.results import Result, read_summary
from medssl.pipeline.study import Cell, Study

DRAWS = 1000


@dataclass(frozen=True)
class GradedImages:
    """What a run said of its test images.

    Attributes:
        images: ids, sorted.
        truth, predicted: [S] grade indices, in the order of `images`.
    """

    images: tuple[str, ...]
    truth: np.ndarray
    predicted: np.ndarray


class GradeComparison(Comparison):
    """By balanced accuracy and quadratic kappa over the same images."""

    heads = ("balanced accuracy [95 %]", "kappa", "MSE", "AUC", "ECE")
    difference_heads = ("- {}", "kappa")

    def read(self, folder: Path) -> tuple[Mapping[str, float], Any]:
        """Scores by name, and the grades of the images."""
        found = sorted(read_grades(folder / "scores.csv"), key=lambda image: image.id)
        graded = GradedImages(
            tuple(image.id for image in found),
            np.array([image.truth for image in found]),
            np.array([image.prediction for image in found]),
        )
        return read_summary(folder), graded

    def cells(self, run: Result) -> list[str]:
        """Balanced accuracy with its interval, and the other scores."""
        numbers = run.numbers
        ends = ("balanced_accuracy_low", "balanced_accuracy_high")
        low, high = (numbers.get(end, float("nan")) for end in ends)
        first, *others = (
            f"{numbers[name]:.3f}" if name in numbers else "-"
            for name in ("balanced_accuracy", "kappa", "mse", "auc", "ece")
        )
        return [f"{first} [{low:.3f}, {high:.3f}]", *others]

    def difference(self, run: Result, reference: Result) -> list[str]:
        """Of both scores over the same images, with 95 % intervals."""
        mine, theirs = run.scores, reference.scores
        if mine.images != theirs.images:
            return ["", ""]
        cells = []
        for difference in (accuracy_difference, kappa_difference):
            given = mine.predicted[None], theirs.predicted[None], mine.truth
            found = difference(*given, DRAWS, np.random.default_rng(0))
            cells.append(f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]")
        return cells

    def introduction(self, study: Study, specs: Sequence[DataSpec]) -> str:
        """What the tables show."""
        return (
            f"Data: {specs[0].title}. Scores are of the test images, mean (standard deviation) "
            "over seeds. Differences are to the reference arm with the same seeds: "
            f"their 95 % intervals draw test images again within their grade ({RESAMPLES} times, "
            "the same for both arms, seeds averaged); p are of the one-sided signed-rank test that "
            "the arm is better, over seeds (with 5 at least 0.031) and over "
            f"{FOLDS} stratified parts of the test images (balanced accuracy, seeds averaged). Not "
            "corrected for the number of arms."
        )

    def sections(self, study: Study, results: Mapping[Cell, Result]) -> list[str]:
        """Two tables per label budget."""
        return sections(study, results)
