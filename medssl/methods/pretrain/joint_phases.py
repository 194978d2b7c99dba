"""The parts of joint 2D-3D pre-training, each with its losses.

Source: sheet of joint 2D-3D pre-training, sections 3 and 4.7.
"""

from typing import NamedTuple

from medssl.methods.method import Progress
from medssl.methods.settings.joint2d3d import Settings


class Phase(NamedTuple):
    """Which losses a step has.

    Attributes:
        resting: the network of slices does not learn.
        intra_step, inter_step: how many steps had that loss so far, this one included.
    """

    intra: bool
    mask: bool
    inter: bool
    resting: bool
    intra_step: int
    inter_step: int


def phase_of(settings: Settings, progress: Progress) -> Phase:
    """Images and slices alone, then hidden slices alone, then all; or as `order` says."""
    first = round(settings.warm_up * progress.steps)
    second = round((settings.warm_up + settings.mask_only) * progress.steps)
    weights, step = settings.weights, progress.step
    if step <= first:
        return Phase(True, False, False, False, step, 0)
    if step <= second:
        return Phase(False, True, False, True, first, 0)
    joint = settings.order == "joint"
    return Phase(
        joint and weights.intra > 0,
        joint and weights.mask > 0,
        weights.inter > 0,
        False,
        step - (second - first),
        step - second,
    )
