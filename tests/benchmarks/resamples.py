"""How many times as fast the bodies of the bootstrap are as torchmetrics on each draw.

2,000 draws of 300 cases, one thread: `python tests/benchmarks/resamples.py`.
"""

import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    multiclass_cohen_kappa,
    multiclass_recall,
)

from medssl.evaluate.grading import quadratic_kappa
from medssl.evaluate.ranks import average_precisions, roc_areas
from medssl.evaluate.score import resamples_within_classes

CASES, DRAWS = 300, 2000


def seconds(work: Callable[[], object]) -> float:
    """The least of three."""
    found = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def draws(truth: np.ndarray) -> np.ndarray:
    return np.concatenate(list(resamples_within_classes(truth, DRAWS, np.random.default_rng(1))))


def one_by_one(score: Callable[..., object], given: np.ndarray, truth: np.ndarray) -> object:
    """torchmetrics on every draw."""
    drawn, true = torch.from_numpy(given), torch.from_numpy(truth)
    return [score(drawn[index], true[index]) for index in torch.from_numpy(draws(truth))]


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    generator = np.random.default_rng(0)
    sick = (np.arange(CASES) < 90).astype(np.int64)
    ranked, own = generator.random(CASES), np.sort(sick) == 1
    grade, called = generator.integers(5, size=(2, CASES))
    weight = (called == grade) / (5 * np.bincount(grade)[grade])
    quick = {"validate_args": False}
    pairs = {
        "area under the ROC curve": (
            lambda: roc_areas(ranked[draws(sick)], own),
            lambda: one_by_one(lambda p, t: binary_auroc(p, t, **quick), ranked, sick),
        ),
        "average precision": (
            lambda: average_precisions(ranked[draws(sick)], own),
            lambda: one_by_one(lambda p, t: binary_average_precision(p, t, **quick), ranked, sick),
        ),
        "quadratic kappa": (
            lambda: quadratic_kappa(called[draws(grade)], grade[draws(grade)]),
            lambda: one_by_one(
                lambda p, t: multiclass_cohen_kappa(p, t, 5, weights="quadratic", **quick),
                called,
                grade,
            ),
        ),
        "balanced accuracy": (
            lambda: weight[draws(grade)].sum(axis=1),
            lambda: one_by_one(lambda p, t: multiclass_recall(p, t, 5, **quick), called, grade),
        ),
    }
    for name, (own_body, torchmetrics) in pairs.items():
        print(f"{name}: {seconds(torchmetrics) / seconds(own_body):.0f} times as fast")


if __name__ == "__main__":
    main()
