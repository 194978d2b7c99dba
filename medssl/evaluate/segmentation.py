"""Scores of one case: overlap and surface distances of every class, empty masks included.

The rule for empty masks, so that a network cannot look better by finding less:

- class in neither mask ("absent"): Dice, Jaccard and NSD are 1, distances 0;
- class in the truth only ("missed") or in the prediction only ("false_alarm"): Dice, Jaccard and
  NSD are 0, distances are the diagonal of the volume, or of a 2-D image.

No case is ever dropped from a mean, and the outcomes are counted beside it.

Legend: X Y Z voxels, K classes with background first.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, Self

import numpy as np

from medssl.data.regions import Region
from medssl.evaluate.further_masks import further_scores
from medssl.evaluate.metric import Metric
from medssl.evaluate.surface import Box, Spacing, surface_distances

Outcome = Literal["found", "missed", "false_alarm", "absent"]

VOXELS: Spacing = (1.0, 1.0, 1.0)
"""The spacing that measures distances in voxels."""


@dataclass(frozen=True)
class ClassScore:
    """One class of one case.

    Attributes:
        name: the class.
        outcome: "found" (class in both masks), "missed", "false_alarm" or "absent".
        dice, jaccard: overlap in [0, 1].
        hd95: 95th percentile of both directed surface distances pooled, mm.
        asd: mean distance from the predicted to the true surface, mm.
        assd: mean of both directed surface distances pooled, mm.
        nsd: share of surface voxels within the tolerance, in [0, 1].
        truth_ml, prediction_ml: volumes of the masks, millilitres.
        hd95_voxels, asd_voxels: the same distances counted in voxels whatever their size, as the
            published tables do; None where they were not asked for.
        further: metrics of other packages, by key.
    """

    name: str
    outcome: Outcome
    dice: float
    jaccard: float
    hd95: float
    asd: float
    assd: float
    nsd: float
    truth_ml: float
    prediction_ml: float
    hd95_voxels: float | None = None
    asd_voxels: float | None = None
    further: dict[str, float] = field(default_factory=dict)

    def value(self, key: str) -> float | None:
        """One number by its name; None where it was not asked for."""
        found: float | None = self.further[key] if key in self.further else getattr(self, key)
        return found


def dice(prediction: np.ndarray, truth: np.ndarray) -> float:
    """2 |P and T| / (|P| + |T|) of two boolean masks of one shape; 1 if both are empty.

    Raises:
        ValueError: the shapes differ.
    """
    return _dice(*_overlap(prediction, truth))


def case_scores(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing: Spacing,
    classes: Sequence[str],
    tolerance: float,
    pooled_voxels: bool = False,
    further: Sequence[Metric] = (),
    regions: Sequence[Region] = (),
    outlined: Collection[str] | None = None,
) -> list[ClassScore]:
    """Score every foreground class of one case in one pass, or every region.

    Args:
        prediction: [X, Y, Z] class indices in 0..K-1, an integer dtype.
        truth: the same for the reference, on the same grid.
        spacing: mm between neighbouring voxels along each axis.
        classes: K names, background first; background is not scored.
        tolerance: of the normalised surface distance, mm.
        pooled_voxels: also give `hd95_voxels` and `asd_voxels`.
        further: metrics of other packages.
        regions: unions of classes that are scored in place of these.
        outlined: names of those that the reference outlines, which alone are scored; None: all.

    Raises:
        UsageError: a metric of another package fails.
        ValueError: the masks are not 3-D, differ in shape or hold an index beyond `classes`.
    """
    if prediction.shape != truth.shape or truth.ndim != 3:
        raise ValueError(f"not two masks on one 3-D grid: {prediction.shape} and {truth.shape}")
    shape, everything = truth.shape, _occupied(prediction, truth)
    whole = prediction, truth
    # Contiguous, since readers hand out transposed arrays and all that follows is by rows.
    prediction = np.ascontiguousarray(prediction[everything])
    truth = np.ascontiguousarray(truth[everything])
    predicted_boxes, true_boxes = (_boxes(mask, len(classes)) for mask in (prediction, truth))
    scores = []
    own = [(name, (index,)) for index, name in enumerate(classes[1:], start=1)]
    for name, union in [(one.name, one.classes) for one in regions] or own:
        if outlined is not None and name not in outlined:
            continue
        box = _joint(
            *(each[index - 1] for index in union for each in (predicted_boxes, true_boxes))
        )
        masks = _of(union, prediction[box]), _of(union, truth[box])
        score = _class_score(name, masks, shape, spacing, tolerance, pooled_voxels)
        if further:
            predicted, true = (_of(union, one) for one in whole)
            found = further_scores(further, name, predicted, true, spacing)
            score = replace(score, further=found)
        scores.append(score)
    return scores


def _of(union: tuple[int, ...], mask: np.ndarray) -> np.ndarray:
    """Where a mask is one of some classes."""
    inside: np.ndarray = mask == union[0]
    for index in union[1:]:
        inside |= mask == index
    return inside


def _class_score(
    name: str,
    masks: tuple[np.ndarray, np.ndarray],
    shape: tuple[int, ...],
    spacing: Spacing,
    tolerance: float,
    pooled_voxels: bool,
) -> ClassScore:
    """The score of one class from its prediction and truth, cropped from a volume of `shape`."""
    predicted, true = (int(np.count_nonzero(mask)) for mask in masks)
    both = int(np.count_nonzero(masks[0] & masks[1]))
    outcome = _outcome(predicted, true)
    measured = _Distances.of(masks, outcome, shape, spacing, tolerance)
    pooled = _Distances.of(masks, outcome, shape, VOXELS, tolerance) if pooled_voxels else None
    millilitres = float(np.prod(spacing)) / 1000
    return ClassScore(
        name=name,
        outcome=outcome,
        dice=_dice(both, predicted + true),
        jaccard=_jaccard(both, predicted + true),
        **measured._asdict(),
        truth_ml=true * millilitres,
        prediction_ml=predicted * millilitres,
        hd95_voxels=pooled.hd95 if pooled else None,
        asd_voxels=pooled.asd if pooled else None,
    )


class _Distances(NamedTuple):
    """The four numbers of one class, with the rule for empty masks applied."""

    hd95: float
    asd: float
    assd: float
    nsd: float

    @classmethod
    def of(
        cls,
        masks: tuple[np.ndarray, np.ndarray],
        outcome: Outcome,
        shape: tuple[int, ...],
        spacing: Spacing,
        tolerance: float,
    ) -> Self:
        """Measured where both masks have voxels, else by the rule."""
        if outcome == "absent":
            return cls(hd95=0.0, asd=0.0, assd=0.0, nsd=1.0)
        if outcome != "found":
            axes = 2 if shape[2] == 1 else 3
            diagonal = math.hypot(*np.multiply(shape, spacing)[:axes])
            return cls(hd95=diagonal, asd=diagonal, assd=diagonal, nsd=0.0)
        found = surface_distances(*masks, spacing, flat=shape[2] == 1)
        return cls(found.hd95(), found.asd(), found.assd(), found.nsd(tolerance))


def _outcome(predicted: int, true: int) -> Outcome:
    if predicted and true:
        return "found"
    if true:
        return "missed"
    return "false_alarm" if predicted else "absent"


def _overlap(prediction: np.ndarray, truth: np.ndarray) -> tuple[int, int]:
    """Voxels in both masks, and the sum of the masks' voxels."""
    if prediction.shape != truth.shape:
        raise ValueError(f"masks of shapes {prediction.shape} and {truth.shape}")
    both = int(np.count_nonzero(prediction & truth))
    return both, int(np.count_nonzero(prediction)) + int(np.count_nonzero(truth))


def _dice(both: int, total: int) -> float:
    return 2 * both / total if total else 1.0


def _jaccard(both: int, total: int) -> float:
    return both / (total - both) if total else 1.0


def _occupied(prediction: np.ndarray, truth: np.ndarray) -> Box:
    """The box of all foreground; without voxels where there is none."""
    either = prediction | truth
    plane = either.max(axis=2, initial=0)
    depth = either.max(axis=0, initial=0).any(axis=0)
    x, y, z = (_extent(line) for line in (plane.any(axis=1), plane.any(axis=0), depth))
    return x, y, z


def _extent(line: np.ndarray) -> slice:
    index = np.flatnonzero(line)
    return slice(int(index[0]), int(index[-1]) + 1) if len(index) else slice(0, 0)


def _boxes(mask: np.ndarray, classes: int) -> list[Box | None]:
    """The bounding box of each foreground class, found for all of them in one pass."""
    from scipy.ndimage import find_objects

    highest = int(mask.max(initial=0))
    if highest >= classes:
        raise ValueError(f"the mask holds class {highest}, but there are {classes} classes")
    found: list[Any] = find_objects(mask, max_label=classes - 1)
    return found


def _joint(*boxes: Box | None) -> Box:
    """The smallest box around all that there are; without voxels where there is none."""
    found = [box for box in boxes if box is not None]
    if not found:
        nothing = slice(0, 0)
        return nothing, nothing, nothing
    x, y, z = (
        slice(min(one.start for one in axis), max(one.stop for one in axis))
        for axis in zip(*found, strict=True)
    )
    return x, y, z
