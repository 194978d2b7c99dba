"""The scores of a run over all its folds: of bags, honest ones first, and of their instances.

Legend: N instances of a bag.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from medssl.data.slide.annotation import tile_labels
from medssl.data.slide.annotation_files import read_annotation
from medssl.data.slide.bag import FeatureBag
from medssl.data.spec import Case
from medssl.evaluate.classification import choose_threshold, patch_auc, predictions
from medssl.evaluate.froc import Hits, detections_from_tiles, hits
from medssl.evaluate.lesions import Lesions
from medssl.evaluate.ranking import area_under_roc
from medssl.evaluate.score import Score
from medssl.evaluate.statistics import bootstrap_interval
from medssl.families.slide.cohort import SlideBag
from medssl.families.slide.predict import instance_scores
from medssl.families.slide.train import Calls, Probabilities


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
    """Accuracy over all test bags with its interval over folds and bags; AUC by fold, and pooled.

    The pooled AUC ranks bags of different models against each other, so it also asks that their
    probabilities mean the same.
    """
    right = np.array([call.right for call in calls], np.float64)
    folds = np.array([call.fold for call in calls])
    low, high = bootstrap_interval(right, resamples, np.random.default_rng(0), folds=folds)
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


@dataclass
class InstanceRecord:
    """How well the instances of bags with instance labels are found.

    Attributes:
        top: how many instances of a bag count as selected.
        values, labels: [N] of each bag.
        hits: detections against lesions, of slides that are drawn upon or free of tumour.
    """

    top: int
    values: list[np.ndarray] = field(default_factory=list)
    labels: list[np.ndarray] = field(default_factory=list)
    hits: list[Hits] = field(default_factory=list)

    def add(self, case: Case, bag: SlideBag, head: nn.Module, device: torch.device) -> None:
        """Take one held-out bag, if anything is known of its instances."""
        truth = instance_labels(case, bag)
        found = None if truth is None else instance_scores(head, bag, device)
        if found is None or truth is None:
            return
        self.values.append(found.values)
        self.labels.append(truth)
        if isinstance(bag, FeatureBag):
            detections = detections_from_tiles(bag.places, bag.span, found.values)
            self.hits.append(hits(detections, _lesions(case, bag)))

    def scores(self) -> list[tuple[str, Score]]:
        """What there is to say, with its name for people."""
        if not self.values:
            return []
        named = [("area under the ROC curve over instances", patch_auc(self.values, self.labels))]
        keys = [
            np.isin(np.flatnonzero(truth), np.argsort(-values, kind="stable")[: self.top])
            for values, truth in zip(self.values, self.labels, strict=True)
        ]
        if sum(map(len, keys)):
            share = float(np.concatenate(keys).mean())
            named.append(
                (f"positive instances among the first {self.top} of their bag", Score(share))
            )
        return named

    def flat(self) -> dict[str, float]:
        """The scores as numbers by name, for a tracker."""
        names = ("patch_auc", "keys_found")
        numbers = {
            name: score.value for name, (_, score) in zip(names, self.scores(), strict=False)
        }
        if any(len(one.lesions) for one in self.hits):
            from medssl.evaluate.mask_metrics import Froc

            froc = Froc()
            for one in self.hits:
                froc.update(*map(torch.from_numpy, (one.false_positives, one.lesions)))
            numbers["froc"] = float(froc.compute())
        return numbers


def _lesions(case: Case, bag: FeatureBag) -> Lesions | None:
    """The targets of a slide; None for a slide without tumour."""
    drawn = case.extra["annotation"]
    if drawn is None:
        return None
    spacing = bag.header.mpp * bag.header.size / bag.span
    return Lesions.from_annotation(read_annotation(drawn), bag.slide_size, spacing)


def instance_labels(case: Case, bag: SlideBag) -> np.ndarray | None:
    """[N] bool, which instances show the positive class; None where nobody said."""
    if not isinstance(bag, FeatureBag):
        return bag.instances
    drawn = case.extra["annotation"]
    if drawn is None:
        # A slide without tumour has none anywhere; one with tumour has it somewhere.
        return np.zeros(len(bag.places), bool) if bag.label == 0 else None
    return tile_labels(read_annotation(drawn), bag.places, bag.span)
