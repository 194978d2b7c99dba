"""What random steps do to the place of voxels, by their names and arguments; no torch or MONAI.

A step that moves voxels acts on a box around all views of an item. How much larger than the views
the box must be, so that nothing comes from outside, is known here of MONAI's transforms; ours tell
it themselves, by what they drew.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil, pi, sin, sqrt
from typing import Any

import numpy as np

from medssl.transforms.step import IMAGE, LABEL, Step

Size = tuple[int, ...]
"""Sides in voxels, of two or three axes."""

Reach = Callable[[Mapping[str, Any], np.ndarray], np.ndarray]
"""How far from the middle is read along each axis to fill so far, by a step's arguments."""


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
    size = [key for key in ("spatial_size", "keep_size") if key in args]
    if size and args[size[0]] not in (None, True):
        return f"would change the size of patches; leave {size[0]} out, train.patch sets it"
    if step.name in REACHES or step.name in OURS:
        return ""
    if entry.random:
        return (
            "changes the grid of patches in a way that is not known; train.patch sets their size, "
            f"and those that can be are {', '.join((*REACHES, *OURS))}"
        )
    return "changes each image in the same way; write it under preprocess"


OURS = ("medssl:RandPosed", "medssl:RandRotateScaled", "medssl:RandMirrord")
"""Transforms that are a `RandomMove`."""


def needed(step: Step, size: Size) -> Size:
    """Sides of the box that fills `size` whatever a transform of MONAI draws.

    Each is larger by an even number, so that both have one middle.
    """
    halves = (np.array(size) - 1) / 2
    reach = REACHES.get(step.name)
    if reach is None:  # of another package, that keeps to what it is given
        return size
    far = reach(step.args, halves)
    wider = [2 * max(0, ceil(round(more, 6))) for more in far - halves]
    return tuple(side + more for side, more in zip(size, wider, strict=True))


def _same(args: Mapping[str, Any], halves: np.ndarray) -> np.ndarray:
    return halves


def _square(args: Mapping[str, Any], halves: np.ndarray) -> np.ndarray:
    first, second = args.get("spatial_axes", (0, 1))
    far: np.ndarray = halves.copy()
    far[[first, second]] = max(float(halves[first]), float(halves[second]))
    return far


def _rotated(args: Mapping[str, Any], halves: np.ndarray) -> np.ndarray:
    return _turned([args.get(f"range_{axis}", 0) for axis in "xyz"], halves)


def _zoomed(args: Mapping[str, Any], halves: np.ndarray) -> np.ndarray:
    least = np.broadcast_to(np.asarray(args.get("min_zoom", 0.9), float), halves.shape)
    # Sides are rounded down, so a voxel more.
    return np.where(least < 1, (halves + 1) / np.minimum(least, 1), halves)


def _affine(args: Mapping[str, Any], halves: np.ndarray) -> np.ndarray:
    """Scaled, moved, sheared, then rotated, as MONAI composes them."""
    axes = len(halves)
    far = halves * (1 + _most(args.get("scale_range"), axes, signed=True))
    far = far + _most(args.get("translate_range"), axes)
    shears = _most(args.get("shear_range"), axes * (axes - 1))
    sheared, others = far.copy(), iter(shears)
    for axis in range(axes):
        for other in range(axes):
            if other != axis:
                sheared[axis] += next(others) * far[other]
    return _turned(_listed(args.get("rotate_range")), sheared)


def _elastic(args: Mapping[str, Any], halves: np.ndarray) -> np.ndarray:
    """With five standard deviations of a smoothed uniform field, which is hardly ever passed."""
    far = _affine(args, halves)
    if "sigma_range" not in args:  # of control points, in pixels
        return far + 4 * float(max(args["magnitude_range"]))
    spread: float = 1 / sqrt(3) / (2 * sqrt(pi) * float(min(args["sigma_range"]))) ** 1.5
    return far + min(1, 5 * spread) * float(max(args["magnitude_range"]))


REACHES: dict[str, Reach] = {
    "RandFlipd": _same,
    "RandAxisFlipd": _same,
    "RandRotate90d": _square,
    "RandRotated": _rotated,
    "RandZoomd": _zoomed,
    "RandAffined": _affine,
    "Rand2DElasticd": _elastic,
    "Rand3DElasticd": _elastic,
    "RandGridDistortiond": _same,
}
"""Of every random transform of MONAI that moves voxels and leaves the size."""


def _turned(angles: Sequence[Any], halves: np.ndarray) -> np.ndarray:
    """After rotations by up to so many radians about each axis; one of a plane is the first."""
    most = [_largest(angle) for angle in angles]
    far, axes = halves.copy(), len(halves)
    planes = [(0, 1)] if axes == 2 else [(1, 2), (2, 0), (0, 1)]
    for (first, second), angle in reversed(list(zip(planes, most, strict=False))):
        share = 1.0 if angle >= pi / 2 else sin(angle)
        far[first], far[second] = (
            far[first] + share * far[second],
            far[second] + share * far[first],
        )
    longest = float(np.linalg.norm(halves))
    return np.maximum(halves, np.minimum(far, longest)) if any(most) else halves


def _listed(given: Any) -> list[Any]:
    """A range for each axis; one number is that of the first."""
    return [] if given is None else list(given) if isinstance(given, list | tuple) else [given]


def _largest(limits: Any) -> float:
    return (
        float(max(abs(one) for one in limits))
        if isinstance(limits, list | tuple)
        else abs(float(limits))
    )


def _most(given: Any, count: int, signed: bool = False) -> np.ndarray:
    """The largest amount of each of `count` ranges; `signed` looks at the upper ends alone."""
    found = np.zeros(count)
    for place, limits in enumerate(_listed(given)[:count]):
        pair = isinstance(limits, list | tuple)
        found[place] = max(0.0, float(max(limits))) if signed and pair else _largest(limits)
    return found


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
            flips = [(0, 1, 2) if axes is None else _listed(axes)]
        case "RandRotate90d" if args.get("max_k", 3) > 1:
            flips = [args.get("spatial_axes", (0, 1))]
    return [frozenset(axis % 3 for axis in axes) for axes in flips]
