"""The scores of a run over all its folds, honest ones first.

Legend: S test bags of all folds, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medssl.evaluate.classification import choose_threshold, predictions
from medssl.evaluate.ranking import area_under_roc
from medssl.evaluate.statistics import bootstrap_interval
from medssl.families.slide.fold import Calls, Probabilities


@dataclass(frozen=True)
class BagCall:
    """What the fold that did not learn from a bag says of it.

    Attributes:
        fold: its number.
        truth, prediction: class indices; the prediction uses the fold's own threshold.
        probability: of each class.
    """

    id: str
    fold: int
    truth: int
    prediction: int
    threshold: float
    probability: tuple[float, ...]

    @property
    def right(self) -> bool:
        """Whether the prediction is the truth."""
        return self.prediction == self.truth


def fold_calls(number: int, calls: Calls, truth: dict[str, int]) -> list[BagCall]:
    """The calls on a fold's test bags."""
    found = []
    for bag, probability in calls.test.items():
        (chosen,) = predictions(np.array([probability]), calls.threshold)
        one = tuple(probability)
        found.append(BagCall(bag, number, truth[bag], int(chosen), calls.threshold, one))
    return found


def summarise(calls: Sequence[BagCall], resamples: int) -> dict[str, float]:
    """Accuracy over all test bags with its interval; AUC as the mean over folds, and pooled.

    The pooled AUC ranks bags of different models against each other, so it also asks that their
    probabilities mean the same.
    """
    right = np.array([call.right for call in calls], np.float64)
    low, high = bootstrap_interval(right, resamples, np.random.default_rng(0))
    probability = np.array([call.probability for call in calls])
    truth = np.array([call.truth for call in calls])
    areas = [area for area in fold_areas(calls) if np.isfinite(area)]
    return {
        "bags": len(calls),
        "accuracy": float(right.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "accuracy_half": float((predictions(probability, 0.5) == truth).mean()),
        "auc": float(np.mean(areas)) if areas else float("nan"),
        "auc_sd": float(np.std(areas)) if areas else float("nan"),
        "auc_pooled": area_under_roc(truth, probability),
    }


def fold_areas(calls: Sequence[BagCall]) -> list[float]:
    """AUC of every fold in order; NaN where its test bags are of one class."""
    areas = []
    for fold in sorted({call.fold for call in calls}):
        mine = [call for call in calls if call.fold == fold]
        truth = np.array([call.truth for call in mine])
        areas.append(area_under_roc(truth, np.array([call.probability for call in mine])))
    return areas


def optimistic(calls: Sequence[Calls], truth: dict[str, int]) -> dict[str, float]:
    """The published protocol: in each fold the best epoch *on its test bags*, threshold too.

    Not an estimate of anything: it stands beside the honest numbers to show what the protocol is
    worth. Empty unless the test bags were watched (`train.watch_test`).
    """
    if not all(one.epochs for one in calls):
        return {}
    best = [max(_test_chosen(epoch, truth) for epoch in one.epochs) for one in calls]
    sizes = [len(one.test) for one in calls]
    return {
        "optimistic_accuracy": float(np.average([right for right, _ in best], weights=sizes)),
        "optimistic_auc": float(np.nanmean([area for _, area in best])),
    }


def _test_chosen(epoch: Probabilities, truth: dict[str, int]) -> tuple[float, float]:
    """Accuracy at the threshold that suits these very bags, and AUC."""
    labels = np.array([truth[bag] for bag in epoch])
    probability = np.array(list(epoch.values()))
    threshold = choose_threshold(probability[:, 1], labels) if probability.shape[1] == 2 else None
    right = float((predictions(probability, threshold) == labels).mean())
    return right, area_under_roc(labels, probability)
