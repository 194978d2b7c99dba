"""From what scans are like to the sizes that a network is trained with; pure numbers.

Source: nnU-Net's default planner, with the changes for few labels of the planning sheet, section 5:
all training scans count, labelled or not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from medssl.data.plan.budget import ACROSS, LARGER, Budget
from medssl.data.plan.fingerprint import ENDS, Fingerprint
from medssl.data.plan.patch import PatchPlan, plan_patch
from medssl.data.plan.request import Fixed
from medssl.data.plan.spacing import median_shape, target_spacing
from medssl.data.plan.topology import Topology

WHOLE = 0.99
"""Share of a scan above which its margin is not worth a crop."""

STEP = 1.03
"""Factor by which voxels become larger at once, as in nnU-Net's search for a low resolution."""

MOSTLY_BODY = 0.75
"""Share of a scan above which all of its voxels say what an intensity means."""

Sides = tuple[float, ...]


@dataclass(frozen=True)
class Window:
    """Hounsfield units of what the masks mark.

    Attributes:
        low, high: percentiles 0.5 and 99.5.
        mean, deviation: of all drawn voxels.
    """

    low: float
    high: float
    mean: float
    deviation: float


@dataclass(frozen=True)
class SizePlan:
    """What was planned; axes are those of the scans.

    Attributes:
        spacing: mm that scans are brought to.
        larger: how many times larger at most that is than what the scans have, so that a patch
            sees more of them.
        median: voxels of the median scan then.
        crop: whether the empty margin is cut away.
        kept: median share of a scan that its margin leaves.
        network: levels, patch and batch.
        window: of CT with a mask; None else.
        cases: scans that were looked at.
        labelled: of these, with a mask.
        held: mm across small parts of the masks, where voxels would be larger but for these; else
            0.
        settled: how much of a structure lies where it does in other patients, 0 to 1; None: not
            known.
    """

    spacing: Sides
    median: Sides
    crop: bool
    kept: float
    network: PatchPlan
    window: Window | None
    cases: int
    labelled: int
    larger: float = 1.0
    held: float = 0.0
    settled: float | None = None

    @property
    def intensity(self) -> str:
        """How scans other than CT are scaled."""
        if self.kept < MOSTLY_BODY:
            return "zscore_inside"
        return "zscore_box" if self.crop else "zscore"

    @property
    def planar(self) -> bool:
        """Whether the scans are images of one slice."""
        return min(self.median) <= 1


def plan_sizes(
    found: Fingerprint, classes: int, is_ct: bool, budget: Budget, fixed: Fixed
) -> SizePlan:
    """Spacing, crop, patch, network and batch for these scans.

    Args:
        classes: background included.
        is_ct: whether intensities are Hounsfield units, whose margins are not cut away.

    Raises:
        TooLittle: not even the smallest patch fits the budget.
    """
    crop = fixed.crop if fixed.crop is not None else not is_ct and found.kept < WHOLE
    shapes = found.shapes(crop)
    spacing = fixed.spacing or target_spacing(found.spacings, shapes)
    if fixed.keeps_spacing:
        sides = np.median(found.spacings, axis=0)
        spacing, median = tuple(map(float, sides)), tuple(map(float, np.median(shapes, axis=0)))
    else:
        median = median_shape(found.spacings, shapes, spacing)
    count, larger, own = len(found.cases), (1.0,) * len(spacing), spacing
    network = _in_order(spacing, median, prod(median) * count, classes, budget, fixed.patch)
    free, finest = fixed.leaves_voxels and min(median) > 1, found.finest
    most = _most(own, finest)
    while free and prod(network.patch) < budget.seen * prod(median) and larger != most:
        larger = _grown(larger, own, most)
        spacing = tuple(by * one for by, one in zip(larger, own, strict=True))
        median = median_shape(found.spacings, shapes, spacing)
        network = _in_order(spacing, median, prod(median) * count, classes, budget, None)
    inside = found.inside() if is_ct else None
    labelled = sum(case.labelled for case in found.cases)
    given = (spacing, median, crop, found.kept, network, window_of(inside), len(found.cases))
    wants = free and prod(network.patch) < budget.seen * prod(median)
    held = finest if finest and wants and min(most) < LARGER else 0.0
    return SizePlan(*given, labelled, max(larger), held, found.settled)


def _most(own: Sides, finest: float | None) -> Sides:
    """Factors on the voxels' own sides at most, by mm across small parts of the masks."""
    if finest is None:
        return (LARGER,) * len(own)
    return tuple(min(LARGER, max(1.0, finest / ACROSS / side)) for side in own)


def _grown(larger: Sides, own: Sides, most: Sides) -> Sides:
    """Factors on the voxels' own sides, a step larger; first where voxels are thin (nnU-Net)."""
    sides = [by * one for by, one in zip(larger, own, strict=True)]
    thin = [2 * side < max(sides) and larger[axis] < most[axis] for axis, side in enumerate(sides)]
    grows = thin if any(thin) else [True] * len(sides)
    return tuple(
        min(limit, by * STEP) if grow else by
        for by, limit, grow in zip(larger, most, grows, strict=True)
    )


def window_of(inside: np.ndarray | None) -> Window | None:
    """The window of some intensities; None without any."""
    if inside is None:
        return None
    low, high = (float(one) for one in np.percentile(inside, ENDS))
    mean, deviation = float(inside.mean(dtype=float)), float(inside.std(dtype=float))
    return Window(low, max(high, low + 1), mean, max(deviation, 1e-3))


def coarse_first(spacing: Sequence[float], median: Sequence[float]) -> tuple[int, ...]:
    """The axes in the planner's order: the one with the longest voxels, then the others backwards.

    An axis of one voxel comes first.
    """
    backwards = range(len(spacing) - 1, -1, -1)
    first = max(backwards, key=lambda axis: (median[axis] <= 1, spacing[axis]))
    return (first, *(axis for axis in backwards if axis != first))


def _in_order(
    spacing: Sides,
    median: Sides,
    voxels: float,
    classes: int,
    budget: Budget,
    patch: tuple[int, ...] | None,
) -> PatchPlan:
    """`plan_patch` in the planner's order of axes, and back; images of one slice in their plane."""
    order = coarse_first(spacing, median)
    flat = median[order[0]] <= 1
    used = order[1:] if flat else order
    found = plan_patch(
        [spacing[axis] for axis in used],
        [median[axis] for axis in used],
        voxels,
        classes,
        budget,
        None if patch is None else [patch[axis] for axis in used],
    )

    def back(row: Sequence[int]) -> tuple[int, ...]:
        whole = dict(zip(used, row, strict=True))
        return tuple(whole.get(axis, 1) for axis in range(len(spacing)))

    own = found.topology
    turned = Topology(tuple(map(back, own.strides)), tuple(map(back, own.kernels)), back(own.patch))
    return replace(found, topology=turned)
