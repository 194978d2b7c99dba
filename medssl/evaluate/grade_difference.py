"""Two graders on the same images: differences of scores, seeds averaged, with intervals.

Legend: S images, R runs of a grader with different seeds, B resamples.
"""

import numpy as np

from medssl.evaluate.grading import balanced_accuracy_by_fold, quadratic_kappa, wilcoxon_greater
from medssl.evaluate.score import Bootstrap, Score


def accuracy_difference(
    first: np.ndarray,
    second: np.ndarray,
    truth: np.ndarray,
    resamples: int,
    generator: np.random.Generator,
) -> Score:
    """First less second balanced accuracy, each the mean over its runs.

    Args:
        first, second: [R, S] grades that were given; R may differ.
        truth: [S] grades.
        resamples: images drawn again within their grade, the same for both.
        generator: draws them.
    """
    counts = np.bincount(truth)
    weight = 1 / (np.count_nonzero(counts) * counts[truth])  # resamples keep the grades' sizes
    gain = ((first == truth).mean(axis=0) - (second == truth).mean(axis=0)) * weight

    def measure(index: np.ndarray) -> np.ndarray:
        return np.asarray(gain[index].sum(axis=1))

    return Score(float(gain.sum()), *Bootstrap(resamples, generator).interval(measure, truth))


def kappa_difference(
    first: np.ndarray,
    second: np.ndarray,
    truth: np.ndarray,
    resamples: int,
    generator: np.random.Generator,
) -> Score:
    """First less second quadratic kappa, each the mean over its runs.

    The arguments are those of `accuracy_difference`.
    """

    def measure(index: np.ndarray) -> np.ndarray:
        means = [
            np.mean([quadratic_kappa(run[index], truth[index]) for run in runs], axis=0)
            for runs in (first, second)
        ]
        return np.asarray(means[0] - means[1])

    value = float(measure(np.arange(len(truth))[None])[0])
    return Score(value, *Bootstrap(resamples, generator).interval(measure, truth))


def greater_over_folds(
    first: np.ndarray, second: np.ndarray, truth: np.ndarray, folds: int, seed: int
) -> float:
    """P-value of the one-sided signed-rank test that `first` is better over parts of the test set.

    It compares the balanced accuracy of each part, averaged over runs, as Semixup was tested
    (sheet, section 12). NaN where the test set is too small.

    Args:
        first, second: [R, S] grades that were given.
        truth: [S] grades.
        folds: number of parts, with like shares of the grades; each grade needs that many images.
        seed: deals out the images.
    """
    _, counts = np.unique(truth, return_counts=True)
    if counts.min() < folds:
        return float("nan")
    means = [
        np.mean(
            [
                balanced_accuracy_by_fold(run, truth, folds, np.random.default_rng(seed))
                for run in runs
            ],
            axis=0,
        )
        for runs in (first, second)
    ]
    return wilcoxon_greater(means[0], means[1])
