"""Scores of classifiers as metrics of torchmetrics, whose states join over processes.

`update` takes some cases, `compute` gives the score of all so far, over all processes. Inputs are
checked and states kept by torchmetrics. What it reduces in float32 (areas, precisions) or bins by
other edges (calibration) is reduced here, in float64. A class without cases makes a score NaN,
where torchmetrics says 0.

Legend: N cases, K classes, B bins.
"""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import (
    BinaryAUROC,
    MulticlassAUROC,
    MulticlassAveragePrecision,
    MulticlassCohenKappa,
    MulticlassConfusionMatrix,
)
from torchmetrics.utilities import dim_zero_cat

from medssl.evaluate.calibration import BINS, Calibration, bin_sums
from medssl.evaluate.delong import delong_interval
from medssl.evaluate.ranks import average_precisions, roc_areas


class BalancedAccuracy(MulticlassConfusionMatrix):
    """Mean recall of the classes.

    `update` takes classes [N], or probabilities [N, K], and true classes [N]. `confmat` [K, K]
    counts cases, rows are true classes.

    Args:
        classes: K.
        present: leave out classes without cases; otherwise one makes the score NaN.
    """

    higher_is_better = True

    def __init__(self, classes: int, present: bool = False, **kwargs: Any) -> None:
        super().__init__(classes, **kwargs)
        self.present = present

    def compute(self) -> Tensor:
        """The score, float64."""
        counts = self.confmat.double()
        recall = counts.diagonal() / counts.sum(1)
        return recall.nanmean() if self.present else recall.mean()


class QuadraticKappa(MulticlassCohenKappa):
    """Cohen's kappa with quadratic weights, float64; NaN where all of both are one class.

    `update` takes classes [N], or probabilities [N, K], and true classes [N].

    Args:
        classes: K.
    """

    def __init__(self, classes: int, **kwargs: Any) -> None:
        super().__init__(classes, weights="quadratic", **kwargs)
        self.set_dtype(torch.float64)


class AreaUnderRoc(MulticlassAUROC):
    """Area under the ROC curve, of the second of two classes, or the mean over more.

    `update` takes probabilities [N, K] and true classes [N].
    """

    def compute(self) -> Tensor:  # type: ignore[override]
        """The score, float64; NaN where a class has no case."""
        return _mean_over_classes(roc_areas, self)


class AveragePrecision(MulticlassAveragePrecision):
    """Average precision, of the second of two classes, or the mean over more.

    `update` takes probabilities [N, K] and true classes [N].
    """

    def compute(self) -> Tensor:  # type: ignore[override]
        """The score, float64; NaN where a class has no case."""
        return _mean_over_classes(average_precisions, self)


class DelongAuroc(BinaryAUROC):
    """Area under the ROC curve of two classes, with DeLong's 95 % interval.

    `update` takes probabilities [N] of the second class and true classes [N], 0 or 1.
    """

    def compute(self) -> Tensor:  # type: ignore[override]
        """[3] float64: area, low and high; NaN where they cannot be estimated."""
        values = dim_zero_cat(self.preds).double().cpu().numpy()
        own = dim_zero_cat(self.target).cpu().numpy() == 1
        area = roc_areas(values[None], own)[0]
        found = [area, *delong_interval(values, own)]
        return torch.tensor(found, dtype=torch.float64, device=self.device)


class CalibrationError(Metric):
    """Expected calibration error; bins are open below and closed above, as in the releases.

    torchmetrics closes its bins below, which moves every confidence that lies on an edge, and keeps
    confidences in float32. `update` takes probabilities [N, K] and true classes [N]; of two classes
    only the second column is read. Source: Naeini et al. 2015, AAAI.

    Args:
        bins: B. Snuffy's published errors use 10.
        threshold: with two classes, of the second class. Snuffy's released code takes the one
            chosen on validation, so that "confidence" can belong to the class not predicted; 0.5
            is the usual error.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    count: Tensor
    confidence: Tensor
    right: Tensor

    def __init__(self, bins: int = BINS, threshold: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bins, self.threshold = bins, threshold
        for name in ("count", "confidence", "right"):
            self.add_state(name, torch.zeros(bins, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Sort cases into the bins."""
        given = preds.detach().double().cpu().numpy(), target.cpu().numpy()
        count, confidence, right = bin_sums(*given, self.bins, self.threshold)
        self.count += torch.from_numpy(count).to(self.count)
        self.confidence += torch.from_numpy(confidence).to(self.confidence)
        self.right += torch.from_numpy(right).to(self.right)

    def compute(self) -> Tensor:
        """The score, float64."""
        return torch.tensor(self.diagram().error, dtype=torch.float64, device=self.device)

    def diagram(self) -> Calibration:
        """The bins themselves; only `compute` joins those of other processes."""
        sums = (one.cpu().numpy() for one in (self.count, self.confidence, self.right))
        return Calibration.of_sums(*sums)


def _mean_over_classes(reduce: Any, metric: MulticlassAUROC | MulticlassAveragePrecision) -> Tensor:
    """The second of two classes, or the mean of each class against the others."""
    values = dim_zero_cat(metric.preds).double().cpu().numpy()
    truth = dim_zero_cat(metric.target).cpu().numpy()
    ranked = [1] if values.shape[1] == 2 else range(values.shape[1])
    found = [reduce(values[:, k][None], truth == k)[0] for k in ranked]
    absent = len(set(truth.tolist())) < values.shape[1]
    score = float("nan") if absent else sum(found) / len(found)
    return torch.tensor(score, dtype=torch.float64, device=metric.device)
