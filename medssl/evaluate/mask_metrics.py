"""Scores of masks and lesions as metrics of torchmetrics, whose states join over processes.

torchmetrics has no equal: its overlaps of empty masks are no number, its distances take planes
only, and it has no FROC.

Legend: X Y Z voxels, M false detections, R lesions.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from medssl.evaluate.froc import Hits, froc_curve, froc_score
from medssl.evaluate.segmentation import case_scores, dice
from medssl.evaluate.surface import Spacing


class _MeanOverMasks(Metric):
    """Mean over cases and foreground classes; none is left out, whatever is empty."""

    is_differentiable = False
    full_state_update = False
    total: Tensor
    masks: Tensor

    def __init__(self, classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.classes = classes
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("masks", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def _add(self, values: list[float]) -> None:
        for value in values:
            self.total += value
        self.masks += len(values)

    def compute(self) -> Tensor:
        """The mean, float64."""
        return self.total / self.masks


class Dice(_MeanOverMasks):
    """Mean Dice: 1 where a class is in neither mask, 0 where it is in one alone.

    Args:
        classes: how many, with the background, which is not scored.
        unions: indices of the classes of each region, where these are scored in place of classes.
    """

    higher_is_better = True

    def __init__(self, classes: int, unions: Sequence[Sequence[int]] = (), **kwargs: Any) -> None:
        super().__init__(classes, **kwargs)
        self.unions = unions or [[index] for index in range(1, classes)]

    def update(self, preds: Tensor, target: Tensor, outlined: Sequence[bool] | None = None) -> None:
        """Take one case: class indices of the prediction and the truth, both [X, Y, Z].

        Args:
            outlined: which of the unions the truth outlines, which alone count; None: all.
        """
        found, true = preds.cpu().numpy(), target.cpu().numpy()
        seen = [True] * len(self.unions) if outlined is None else outlined
        unions = [union for union, counts in zip(self.unions, seen, strict=True) if counts]
        self._add([dice(np.isin(found, one), np.isin(true, one)) for one in unions])


class _MeanDistance(_MeanOverMasks):
    """A number of surfaces, by the rule of `medssl.evaluate.segmentation` for empty masks.

    Args:
        classes: how many, with the background, which is not scored.
        tolerance: mm, of the normalised surface distance.
    """

    key: str

    def __init__(self, classes: int, tolerance: float = 1.0, **kwargs: Any) -> None:
        super().__init__(classes, **kwargs)
        self.tolerance = tolerance

    def update(self, preds: Tensor, target: Tensor, spacing: Spacing) -> None:
        """Take one case: class indices, both [X, Y, Z], and mm between voxels."""
        names = [str(index) for index in range(self.classes)]
        masks = preds.cpu().numpy(), target.cpu().numpy()
        scores = case_scores(*masks, spacing, names, self.tolerance)
        self._add([getattr(score, self.key) for score in scores])


class HausdorffDistance95(_MeanDistance):
    """Mean 95th percentile of the distances between the surfaces, mm."""

    key = "hd95"
    higher_is_better = False


class SurfaceDistance(_MeanDistance):
    """Mean symmetric distance between the surfaces (ASSD), mm."""

    key = "assd"
    higher_is_better = False


class NormalisedSurfaceDistance(_MeanDistance):
    """Mean share of both surfaces within the tolerance of the other."""

    key = "nsd"
    higher_is_better = True


class Froc(Metric):
    """CAMELYON16's score of lesions found; NaN without lesions."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    false_positives: list[Tensor]
    lesions: list[Tensor]
    slides: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("false_positives", [], dist_reduce_fx="cat")
        self.add_state("lesions", [], dist_reduce_fx="cat")
        self.add_state("slides", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, false_positives: Tensor, lesions: Tensor) -> None:
        """Take one slide.

        Args:
            false_positives: [M] probabilities of detections outside all lesions.
            lesions: [R] largest probability of the detections in each lesion, 0 if none.
        """
        self.false_positives.append(false_positives.double())
        self.lesions.append(lesions.double())
        self.slides += 1

    def compute(self) -> Tensor:
        """The score, float64."""
        states = (self.false_positives, self.lesions)
        pooled = Hits(*(dim_zero_cat(one).cpu().numpy() for one in states))
        score = froc_score(froc_curve([pooled], int(self.slides)))
        return torch.tensor(score, dtype=torch.float64, device=self.device)
