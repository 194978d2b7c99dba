"""What random steps do to the place of voxels, by their names and arguments; free of numpy."""

from collections.abc import Iterable, Sequence
from typing import Any

from medssl.transforms.step import IMAGE, LABEL, Step

Size = tuple[int, ...]
"""Sides in voxels, of two or three axes."""


def must_keep_patches(step: Step) -> str:
    """Why random changes of patches cannot hold a step, in words; empty if they can.

    Such steps leave the mask behind, or cannot be undone: they change the size.
    """
    entry, args = step.entry, step.args
    if entry.moves and not {IMAGE, LABEL} <= set(step.keys):
        left = LABEL if IMAGE in step.keys else IMAGE
        return f"moves voxels and leaves the {left} behind; leave its keys out, then both move"
    if not entry.moves:
        return ""
    size = [key for key in ("spatial_size", "keep_size") if key in args and key in entry.optional]
    if size and args[size[0]] not in (None, True):
        return f"would change the size of patches; leave {size[0]} out, train.patch sets it"
    if step.name in KNOWN or step.name in OURS:
        return ""
    if entry.random:
        return (
            "changes the grid of patches in a way that is not known; train.patch sets their size, "
            f"and those that can be are {', '.join((*KNOWN, *OURS))}"
        )
    return "changes each image in the same way; write it under preprocess"


KNOWN = (
    *("RandFlipd", "RandAxisFlipd", "RandRotate90d", "RandRotated", "RandZoomd", "RandAffined"),
    *("Rand2DElasticd", "Rand3DElasticd", "RandGridDistortiond"),
)
"""Random transforms of MONAI that move voxels and leave the size; see `medssl.transforms.reach`."""

OURS = ("medssl:RandPosed", "medssl:RandRotateScaled", "medssl:RandMirrord")
"""Transforms that are a `RandomMove`."""


def listed(given: Any) -> list[Any]:
    """A range for each axis; one number is that of the first."""
    return [] if given is None else list(given) if isinstance(given, list | tuple) else [given]


def mirrored(steps: Iterable[Step]) -> tuple[int, ...]:
    """Axes along which a mirror image comes of the flips and half turns that steps can draw.

    A half turn of a plane mirrors both its axes at once, which is no mirror image; with a flip
    along one of them it is a flip along the other.
    """
    reached: set[frozenset[int]] = {frozenset()}
    for step in steps:
        for axes in _flips(step):
            reached |= {one ^ axes for one in reached}
    return tuple(axis for axis in range(3) if frozenset({axis}) in reached)


def _flips(step: Step) -> list[frozenset[int]]:
    """What one step can do, each as the axes that it mirrors at once."""
    args = step.args
    flips: list[Sequence[int]] = []
    match step.name if args.get("prob", 1) else "":
        case "medssl:RandPosed":
            flips = [(0, 1)] if args.get("turns", True) else []
            if args.get("flip", "half") != "none":
                flips += [(axis,) for axis in args.get("axes", (0, 1))]
        case "medssl:RandMirrord":
            flips = [(axis,) for axis in args.get("axes", (0, 1, 2))]
        case "RandAxisFlipd":
            flips = [(0,), (1,), (2,)]
        case "RandFlipd":
            axes = args.get("spatial_axis")
            flips = [(0, 1, 2) if axes is None else listed(axes)]
        case "RandRotate90d" if args.get("max_k", 3) > 1:
            flips = [args.get("spatial_axes", (0, 1))]
    return [frozenset(axis % 3 for axis in axes) for axes in flips]
