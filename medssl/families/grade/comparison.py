"""How graders are compared: by balanced accuracy and quadratic kappa over the same images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medssl.data.spec import DataSpec
from medssl.evaluate.grade_difference import (
    accuracy_difference,
    greater_over_folds,
    kappa_difference,
)
from medssl.evaluate.grade_report import read_grades
from medssl.evaluate.grading import wilcoxon_greater
from medssl.evaluate.statistics import crossed_means
from medssl.pipeline.comparison import DRAWS, Comparison, Headline, Result, Runs, quantiles
from medssl.pipeline.results import read_summary

FOLDS = 20

DIFFERENCES = {"balanced_accuracy": accuracy_difference, "kappa": kappa_difference}


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

    budget = "labels per grade"
    ranked = "balanced_accuracy"
    shown = {  # noqa: RUF012 - a ClassVar of the base
        "balanced_accuracy": "balanced accuracy",
        "kappa": "quadratic kappa",
        "mse": "MSE",
        "auc": "AUC",
        "average_precision": "AP",
        "ece": "ECE",
    }
    differences = (
        "{} of balanced accuracy [95 %]",
        "by seed",
        "p seeds",
        "p parts",
        "{} of quadratic kappa [95 %]",
        "by seed",
        "p seeds",
    )
    brief = {0: "{} [95 %]", 4: "of kappa [95 %]"}  # noqa: RUF012 - a ClassVar of the base

    def read(self, folder: Path) -> tuple[Mapping[str, float], Any]:
        """Scores by name, and the grades of the images."""
        found = sorted(read_grades(folder / "scores.csv"), key=lambda image: image.id)
        graded = GradedImages(
            tuple(image.id for image in found),
            np.array([image.truth for image in found]),
            np.array([image.prediction for image in found]),
        )
        return read_summary(folder), graded

    def introduction(self, specs: Sequence[DataSpec]) -> str:
        """What the tables show."""
        return (
            f"Data: {specs[0].title}. Scores are of the test images, mean (standard deviation) "
            "over seeds. Differences are to the reference arm with the same seeds: "
            f"their 95 % intervals draw test images again within their grade ({DRAWS} times, the "
            "same for both arms, seeds averaged); p are of the one-sided signed-rank test that the "
            "arm is better, over seeds (with 5 at least 0.031) and over "
            f"{FOLDS} stratified parts of the test images (balanced accuracy, seeds averaged); "
            "where seeds have images of their own, as with folds, they have no intervals. Not "
            "corrected for the number of arms."
        )

    def cells(self, runs: Runs) -> list[str]:
        """The scores over seeds; of one run, balanced accuracy with its interval over images."""
        first, *others = super().cells(runs)
        own = self.headline(next(iter(runs.values()))) if len(runs) == 1 else None
        return [first if own is None else str(own), *others]

    def mean(self, run: Result) -> float:
        """Balanced accuracy."""
        return float(run.numbers["balanced_accuracy"])

    def standing(self, runs: Runs) -> Headline:
        """Balanced accuracy; its interval draws images and seeds, where seeds share the images."""
        found = super().standing(runs)
        first, *others = (run.scores for run in runs.values())
        if not others or any(other.images != first.images for other in others):
            return found
        counts = np.bincount(first.truth)
        weight = len(first.truth) / (np.count_nonzero(counts) * counts[first.truth])
        right = np.stack([run.scores.predicted == run.scores.truth for run in runs.values()])
        drawn = crossed_means([right * weight], DRAWS, np.random.default_rng(0))[0]
        return replace(found, **quantiles(drawn)._asdict())

    def difference(self, runs: Runs, reference: Runs) -> list[str]:
        """Differences of both scores, over the seeds that both arms have on the same images."""
        seeds = sorted(set(runs) & set(reference))
        if not seeds or any(
            runs[seed].scores.images != reference[seed].scores.images for seed in seeds
        ):
            return ["" for _ in self.differences]
        first, second = (
            np.stack([arm[seed].scores.predicted for seed in seeds]) for arm in (runs, reference)
        )
        if any(runs[seed].scores.images != runs[seeds[0]].scores.images for seed in seeds):
            return self._of_seeds(runs, reference, seeds)
        truth = runs[seeds[0]].scores.truth
        cells = []
        for name, difference in DIFFERENCES.items():
            found = difference(first, second, truth, DRAWS, np.random.default_rng(0))
            pairs = [(runs[s].numbers[name], reference[s].numbers[name]) for s in seeds]
            interval = f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
            cells += [interval, *_by_seed(pairs)]
        parts = greater_over_folds(first, second, truth, FOLDS, seed=0)
        return [*cells[:3], "-" if np.isnan(parts) else f"{parts:.2g}", *cells[3:]]

    def _of_seeds(self, runs: Runs, reference: Runs, seeds: Sequence[int]) -> list[str]:
        """Where each seed has its own images, as those that folds left out: without intervals."""
        cells = []
        for name in DIFFERENCES:
            pairs = [(runs[s].numbers[name], reference[s].numbers[name]) for s in seeds]
            mean = float(np.mean([one - other for one, other in pairs]))
            cells += [f"{mean:+.3f}", *_by_seed(pairs)]
        return [*cells[:3], "-", *cells[3:]]


def _by_seed(pairs: Sequence[tuple[float, float]]) -> list[str]:
    """The difference of each seed, and the p-value over seeds."""
    return [
        ", ".join(f"{one - other:+.3f}" for one, other in pairs),
        f"{wilcoxon_greater(*map(np.array, zip(*pairs, strict=True))):.2g}",
    ]
