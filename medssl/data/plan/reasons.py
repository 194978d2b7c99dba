"""What was planned as keys of a pipeline, each with the reason in a sentence."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from medssl.data.plan.budget import ACROSS, Budget
from medssl.data.plan.key import Planned
from medssl.data.plan.places import SETTLED
from medssl.data.plan.plan import MOSTLY_BODY, WHOLE, SizePlan


@dataclass(frozen=True)
class Names:
    """What a plan is written with.

    Attributes:
        chain: "mr" or "ct", under whose name the chain of the pipeline has its keys; None: it has
            a chain of its own, to which nothing is added.
        labels: names of the labels, which may tell one side of the body from the other.
    """

    chain: str | None
    labels: tuple[str, ...] = ()

    @property
    def sided(self) -> tuple[int, ...]:
        """Axes of RAS whose two ends the labels tell apart: left and right, front and back ..."""
        words = {word for name in self.labels for word in re.split(r"[^a-z]+", name.lower())}
        return tuple(axis for axis, ends in enumerate(ENDS) if ends & words)


ENDS = (
    {"left", "right", "l", "r", "lt", "rt"},
    {"anterior", "posterior", "front", "back", "ventral", "dorsal"},
    {"superior", "inferior", "upper", "lower", "cranial", "caudal"},
)
"""Words in names of labels for the ends of each axis of RAS."""

MANY_STEPS = 10_000
"""From so many on, gradient descent with momentum is as good as Adam."""


FEW = 16
"""Features of the first level below which a CPU is faster with channels last."""


def planned_keys(plan: SizePlan, budget: Budget, names: Names) -> list[Planned]:
    """All keys, in the order of a pipeline file."""
    return [
        *_chain(plan, names),
        *_network(plan, budget),
        *_augment(plan, budget, names),
        *_train(plan, budget),
    ]


def by(values: Sequence[float]) -> str:
    """Sides in a few digits, e.g. "36 x 50 x 35"."""
    return " x ".join(f"{one:.4g}" for one in values)


def _larger(plan: SizePlan) -> str:
    """Why voxels are larger than those of the scans, or no larger; nothing where they need not."""
    share = f"{100 * prod(plan.network.patch) / prod(plan.median):.0f} % of a scan"
    small = (
        f"small parts of the masks, {plan.held:.3g} mm across, are to stay {ACROSS} voxels across"
    )
    if plan.larger == 1:
        return f" A patch shows {share}; no larger voxels, as {small}." if plan.held else ""
    return (
        f" Made up to {plan.larger:.3g} times larger, so that a patch that the device bears shows "
        f"{share}" + (f"; no larger, as {small}." if plan.held else ".")
    )


def _chain(plan: SizePlan, names: Names) -> Iterator[Planned]:
    if names.chain is None:
        return
    start = f"preprocess.{names.chain}"
    scans = f"{plan.cases} training scans, {plan.labelled} of them with a mask"
    if not plan.labelled:
        scans = f"{plan.cases} training scans, with a mask or without"
    yield Planned(f"{start}.orientation", "RAS", "The axes of all scans are made to point alike.")
    yield Planned(
        f"{start}.spacing",
        [round(one, 6) for one in plan.spacing],
        f"Median voxel of the {scans}; where slices are thick and few, a finer one across them."
        + _larger(plan),
    )
    if names.chain == "ct":
        yield from _window(plan, start)
        return
    share = f"{100 * plan.kept:.0f} % of a scan is left by its empty margin"
    yield Planned(
        f"{start}.crop_foreground",
        plan.crop,
        f"{share}: " + ("it is cut away." if plan.crop else f"{100 * WHOLE:.0f} % needs no crop."),
    )
    yield Planned(
        f"{start}.intensity",
        plan.intensity,
        f"{share}: below {100 * MOSTLY_BODY:.0f} % what lies inside counts alone, else all of it.",
    )


def _window(plan: SizePlan, start: str) -> Iterator[Planned]:
    found = plan.window
    if found is None:
        return
    marked = f"voxels inside the masks of {plan.labelled} scans"
    yield Planned(
        f"{start}.window",
        [round(found.low, 1), round(found.high, 1)],
        f"Percentiles 0.5 and 99.5 of the {marked}, HU.",
    )
    yield Planned(
        f"{start}.zscore",
        [round(found.mean, 2), round(found.deviation, 2)],
        f"Mean and deviation of the {marked}, HU.",
    )


def _network(plan: SizePlan, budget: Budget) -> Iterator[Planned]:
    levels = len(plan.network.topology.strides)
    quick = not budget.given and budget.features < 32
    features = budget.feature_counts(levels, 2 if plan.planar else 3)
    kind = "residual" if budget.residual else "plain"
    yield Planned("network.name", budget.network, f"nnU-Net's {kind} network, for {budget.name}.")
    yield Planned(
        "network.features",
        list(features),
        f"{features[0]} features, doubled per level, {max(features)} at most"
        + (f"; nnU-Net's are {32 // budget.features} times as many." if quick else "."),
    )
    halved = ", ".join(map(str, plan.network.topology.poolings))
    yield Planned(
        "network.strides",
        [list(one) for one in plan.network.topology.strides],
        f"Axes are halved {halved} times, never below 4 voxels, long voxels later than short ones.",
    )
    flat = sum(1 in one for one in plan.network.topology.kernels[:-1])
    yield Planned(
        "network.kernels",
        [list(one) for one in plan.network.topology.kernels],
        "In the plane of the images."
        if plan.planar
        else f"The first {flat} levels do not mix slices, which lie twice as far apart as voxels."
        if flat
        else "Voxels are about as long along all axes.",
    )
    what = "residual blocks" if budget.residual else "convolutions"
    blocks = list(budget.blocks(levels))
    yield Planned("network.blocks", blocks, f"{what.capitalize()} of each level of the encoder.")
    convs = budget.decoder_convs
    yield Planned("network.decoder_convs", convs, "Convolutions of each level of the decoder.")
    yield Planned(
        "network.deep_supervision",
        levels > 2,
        "Coarser levels are taught too."
        if levels > 2
        else "Two levels have no coarser output that could be taught.",
    )


def _augment(plan: SizePlan, budget: Budget, names: Names) -> Iterator[Planned]:
    settled = plan.settled or 0.0
    lies = budget.steps < MANY_STEPS and settled >= SETTLED
    axes = [] if lies else [axis for axis in range(3) if axis not in names.sided]
    kept = " and ".join(
        ("left and right", "front and back", "top and bottom")[a] for a in names.sided
    )
    yield Planned(
        "augment.standard.mirror_axes",
        axes,
        "nnU-Net's random changes; "
        + (
            f"{100 * settled:.0f} % of a structure lies where it does in other patients, so scans "
            f"are shown as they lie, for {budget.name}, whose steps are few."
            if lies
            else f"labels tell {kept} apart, so they are not exchanged."
            if kept
            else "mirrored along all axes; leave out 0 where left and right differ."
        ),
    )


def _train(plan: SizePlan, budget: Budget) -> Iterator[Planned]:
    network = plan.network
    yield Planned(
        "train.patch",
        list(network.patch),
        f"The largest that fits {budget.name}, in the proportions of the median scan of "
        f"{by(plan.median)} voxels: {network.cost / 1e6:.3g} million activations.",
    )
    why = {
        "memory": f"as many as fit {budget.name}",
        "data": f"{100 * budget.covered:.0f} % of the voxels of the {plan.cases} training scans",
        "least": "the least that a batch has",
    }[network.limited_by]
    yield Planned("train.batch_labelled", network.batch, f"Patches per step: {why}.")
    yield Planned("train.batch_unlabelled", network.batch, "As many as labelled ones.")
    yield Planned(
        "train.steps",
        budget.steps,
        f"Of every method and label budget alike, for {budget.name}; nnU-Net's are 250000.",
    )
    if budget.steps < MANY_STEPS:
        why = "In few steps it comes further than the gradient descent with momentum of nnU-Net."
        yield Planned("train.optimiser.name", "adam", why)
        yield Planned("train.optimiser.learning_rate", 0.003, "At its highest; it falls to 0.")
    few = budget.steps < MANY_STEPS and budget.feature_counts(1, 3)[0] < FEW
    last = few and not plan.planar
    why = f"Faster where a CPU has fewer than {FEW} features, in volumes; else not."
    yield Planned("train.channels_last", last, why)
