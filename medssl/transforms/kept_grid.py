"""What a transform must not do to an image or mask whose results lead back to the file's grid."""

from typing import Any

from monai.data import MetaTensor

from medssl.errors import UsageError
from medssl.transforms.step import IMAGE


def must_know_its_grid(name: str, before: MetaTensor, after: Any, key: str) -> None:
    """Refuse what the transform `name` made of an image or mask, `key`, where it lost its place.

    Raises:
        UsageError: it is gone, empty, of other axes or channels, or of another grid unrecorded.
    """
    if after is None:
        raise UsageError(f"the transform {name} drops the {key}", do="leave it out")
    if not isinstance(after, MetaTensor) or after.ndim != before.ndim:
        raise UsageError(
            f"the transform {name} makes something else of the {key}",
            f"{_shape(before)} becomes {_shape(after)}, and where it lies is lost",
            "leave it out, or let it return a MetaTensor of as many axes",
        )
    if not after.numel():
        raise UsageError(
            f"the transform {name} leaves no voxel of the {key}",
            f"{_shape(before)} becomes {_shape(after)}",
            "correct its arguments, or leave it out",
        )
    if len(after) != len(before):
        declared = "masks have one, of classes; `regions` of the data spec names unions of labels"
        if key == IMAGE:
            declared = "a network takes those that the data spec declares"
        raise UsageError(
            f"the transform {name} changes the channels of the {key}",
            f"{_shape(before)} becomes {_shape(after)}, and {declared}",
            "leave it out",
        )
    recorded = len(after.applied_operations) > len(before.applied_operations)
    if after.shape[1:] != before.shape[1:] and not recorded:
        raise UsageError(
            f"the transform {name} changes the grid without a record",
            f"{_shape(before)} becomes {_shape(after)}, so a result would not find its way back",
            "leave it out, or let it record what it does as MONAI's spatial transforms do",
        )


def _shape(image: Any) -> str:
    shape = getattr(image, "shape", None)
    return type(image).__name__ if shape is None else "x".join(str(side) for side in shape)
