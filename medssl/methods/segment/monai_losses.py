"""MONAI's losses that a pipeline may name, and their arguments; known without importing MONAI.

`python -m medssl.methods.segment.monai_losses` writes the list anew from the installed MONAI.
"""

import inspect
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

LIST = Path(__file__).with_name("monai_losses.json")

GIVEN = {"to_onehot_y", "softmax", "use_softmax", "weight"}
"""Arguments that medssl itself gives: masks hold class indices, answers are logits."""

NOT_TAKEN = {
    *("self", "args", "kwargs", "size_average", "reduce", "reduction"),
    *("sigmoid", "other_act", "soft_label", "ignore_index"),
}

OF_SHAPES = {
    *("BoundaryLoss", "HausdorffDTLoss", "LogHausdorffDTLoss"),
    *("SoftDiceclDiceLoss", "SoftclDiceLoss"),
}
"""Losses of distances or skeletons, which no voxel can be left out of."""


EXCLUSIVE = {"DiceCELoss", "SoftDiceclDiceLoss", "SoftclDiceLoss"}
"""Losses of classes of which a voxel is one, even where they take sigmoids."""


@dataclass(frozen=True)
class MonaiLoss:
    """The constructor of a loss of MONAI.

    Attributes:
        arguments: those that a pipeline may give, with their defaults.
        weighs: whether it takes a weight for each class.
        softmax: the argument that says that answers are logits.
    """

    arguments: Mapping[str, Any]
    weighs: bool
    softmax: str


@cache
def known() -> Mapping[str, MonaiLoss]:
    """MONAI's losses by the names of their classes, sorted."""
    plain = json.loads(LIST.read_text(encoding="utf-8"))
    return {name: MonaiLoss(**one) for name, one in plain.items()}


def installed() -> dict[str, MonaiLoss]:
    """What `known` should be: the losses of logits and class indices of the installed MONAI."""
    from monai import losses
    from torch import nn

    found = {}
    for one in vars(losses).values():
        if not (isinstance(one, type) and issubclass(one, nn.Module)):
            continue
        if "mask" in inspect.signature(one.forward).parameters:
            continue  # of a mask of its own
        own: dict[str, Any] = {}
        for kind in one.__mro__:
            if "__init__" in vars(kind):
                own = {**inspect.signature(kind.__init__).parameters, **own}  # type: ignore[misc]
        softmax = next((name for name in ("softmax", "use_softmax") if name in own), None)
        first = list(inspect.signature(one.forward).parameters)[1:2]
        if "to_onehot_y" in own and softmax and first == ["input"]:
            arguments = {
                name: argument.default
                for name, argument in own.items()
                if name not in NOT_TAKEN | GIVEN
            }
            found[one.__name__] = MonaiLoss(
                arguments=arguments, weighs="weight" in own, softmax=softmax
            )
    return dict(sorted(found.items()))


def as_text(losses: Mapping[str, MonaiLoss]) -> str:
    """The file that `known` reads."""
    return json.dumps({name: asdict(one) for name, one in losses.items()}, indent=1) + "\n"


if __name__ == "__main__":
    LIST.write_text(as_text(installed()), encoding="utf-8")
