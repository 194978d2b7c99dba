"""The largest patch that fits, and how many of them make a batch.

Source: nnU-Net's default planner; section 2.3 of the planning sheet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from medssl.data.plan.budget import Budget, cost
from medssl.data.plan.topology import Topology, topology

SIDES = {3: 256, 2: 2048}
"""Voxels of the side of the first patch, by the number of its axes."""

FEWEST = 2
"""Patches of a batch."""

SHORTEST = 8
"""Voxels below which no side is shortened: it can be halved once."""


class TooLittle(Exception):
    """Not even the smallest patch fits.

    Attributes:
        factor: how many times more is needed.
    """

    def __init__(self, factor: float) -> None:
        super().__init__(f"{factor:.2f} times as much is needed")
        self.factor = factor


@dataclass(frozen=True)
class PatchPlan:
    """A patch, the network for it and the batch.

    Attributes:
        topology: levels of the network; its patch is the one that fits.
        cost: activations of one patch.
        batch: patches per step.
        limited_by: what set the batch: "memory" (on a CPU time), "data" (its share of the data
            set), or "least", which every batch has.
    """

    topology: Topology
    cost: int
    batch: int
    limited_by: str

    @property
    def patch(self) -> tuple[int, ...]:
        """Voxels along each axis."""
        return self.topology.patch


def plan_patch(
    spacing: Sequence[float],
    median: Sequence[float],
    voxels: float,
    classes: int,
    budget: Budget,
    wanted: Sequence[int] | None = None,
) -> PatchPlan:
    """The largest patch, in proportion to the scans, whose batch of two fits the budget.

    Args:
        spacing: mm along each axis, 2 or 3, the coarsest first.
        median: voxels of the median scan along these axes.
        voxels: of all scans of the data set together.
        classes: background included.
        wanted: a patch that is to be taken as it is; it is padded to what the network halves.

    Raises:
        TooLittle: not even the smallest patch fits.
    """
    axes = len(spacing)
    reference, items = budget.reference(axes)
    found = topology(spacing, wanted if wanted is not None else _first(spacing, median))
    own = cost(budget, found, classes)
    while wanted is None and own > reference * budget.spare(axes):
        found = _smaller(found, spacing, median, budget, classes)
        own = cost(budget, found, classes)
    fitting = round(reference / own * items)
    share = round(budget.covered * voxels / prod(found.patch))
    batch, limit = min((fitting, "memory"), (share, "data"))
    if batch < FEWEST:
        batch, limit = FEWEST, "least"
    return PatchPlan(found, own, batch, limit)


def _first(spacing: Sequence[float], median: Sequence[float]) -> list[float]:
    """A cube of the patient of as many voxels as `SIDES` says, no longer than the scans."""
    inverse = [1 / one for one in spacing]
    scale = (SIDES[len(inverse)] ** len(inverse) / prod(inverse)) ** (1 / len(inverse))
    return [min(round(one * scale), side) for one, side in zip(inverse, median, strict=True)]


def _smaller(
    found: Topology,
    spacing: Sequence[float],
    median: Sequence[float],
    budget: Budget,
    classes: int,
) -> Topology:
    """One step less along the axis that sees most of the scans.

    Raises:
        TooLittle: no axis can be shortened.
    """
    patch = list(found.patch)
    ratios = [side / whole for side, whole in zip(patch, median, strict=True)]
    for axis in np.argsort(ratios)[::-1]:
        tried = list(patch)
        tried[axis] -= found.divisors[axis]
        if tried[axis] < SHORTEST:
            continue
        # What the shorter patch is divided by, not the longer one: from 256 to 224, not to 192.
        step = topology(spacing, tried).divisors[axis]
        patch[axis] -= step
        return topology(spacing, patch)
    reference, _ = budget.reference(len(patch))
    raise TooLittle(cost(budget, found, classes) / (reference * budget.spare(len(patch))))
