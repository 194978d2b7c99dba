"""How much larger than its views a box must be that random steps of MONAI act on.

A step that moves voxels acts on a box around all views of an item, so large that nothing comes from
outside. Our own transforms tell how large by what they drew.
"""

from collections.abc import Callable, Mapping, Sequence
from math import ceil, pi, sin, sqrt
from typing import Any

import numpy as np

from medssl.transforms.moves import Size, listed
from medssl.transforms.step import Step

Reach = Callable[[Mapping[str, Any], np.ndarray], np.ndarray]
"""How far from the middle is read along each axis to fill so far, by a step's arguments."""


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
    return _turned(listed(args.get("rotate_range")), sheared)


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
"""Of each of `medssl.transforms.moves.KNOWN`."""


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


def _largest(limits: Any) -> float:
    return (
        float(max(abs(one) for one in limits))
        if isinstance(limits, list | tuple)
        else abs(float(limits))
    )


def _most(given: Any, count: int, signed: bool = False) -> np.ndarray:
    """The largest amount of each of `count` ranges; `signed` looks at the upper ends alone."""
    found = np.zeros(count)
    for place, limits in enumerate(listed(given)[:count]):
        pair = isinstance(limits, list | tuple)
        found[place] = max(0.0, float(max(limits))) if signed and pair else _largest(limits)
    return found
