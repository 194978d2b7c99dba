"""Images of one slice, which MONAI's transforms take as images of two axes, as pictures are.

Of a third axis of one voxel a filter would see the nothing around it, and what pads or turns would
pad and turn it too.

Legend: C channels, X Y voxels.
"""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from medssl.transforms.catalogue import known_transforms
from medssl.transforms.step import Step


def is_planar(step: Step) -> bool:
    """Whether a transform of MONAI is given images of one slice without their third axis.

    It is not where an argument says something of three axes: a list of three, or six border sides.
    """
    ours = step.name.startswith("medssl:") or step.name not in known_transforms()
    if ours or step.name == "Orientationd":
        return False
    sides = (len(one) for one in step.args.values() if isinstance(one, list | tuple))
    return not (step.entry.moves and any(side in (3, 6) for side in sides))


def is_flat(data: Mapping[Hashable, Any]) -> bool:
    """Whether all images [C, X, Y, Z] have one slice."""
    images = [one for one in data.values() if isinstance(one, MetaTensor) and one.ndim == 4]
    return bool(images) and all(one.shape[-1] == 1 for one in images)


def flattened(data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
    """Images [C, X, Y, 1] as [C, X, Y], each on a grid of its own spacing that is not turned."""
    return {key: _flat(one) if isinstance(one, MetaTensor) else one for key, one in data.items()}


def raised(changed: Mapping[Hashable, Any], data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
    """Images [C, X, Y] that were made of those of `data`, [C, X, Y, 1], as these again.

    What is no such image is left as it is.
    """
    first = next((one for one in data.values() if isinstance(one, MetaTensor)), None)
    found = dict(changed)
    for key, one in changed.items():
        before = data.get(key, first)
        if isinstance(one, MetaTensor) and one.ndim == 3 and isinstance(before, MetaTensor):
            found[key] = _raised(one, before)
    return found


def _flat(image: MetaTensor) -> MetaTensor:
    return _laid(image.as_tensor()[..., 0], _plain(image), image)


def _raised(image: MetaTensor, before: MetaTensor) -> MetaTensor:
    after = np.eye(4)
    given = np.asarray(image.affine)
    plane = [0, 1, len(given) - 1]
    after[np.ix_([0, 1, 3], [0, 1, 3])] = given[np.ix_(plane, plane)]
    plain = _plain(before).numpy()
    after[2, 2] = plain[2, 2]
    affine = np.asarray(before.affine) @ np.linalg.inv(plain) @ after
    return _laid(image.as_tensor()[..., None], torch.from_numpy(affine), image)


def _laid(array: torch.Tensor, affine: torch.Tensor, like: MetaTensor) -> MetaTensor:
    meta = {key: value for key, value in like.meta.items() if key != "affine"}
    return MetaTensor(array, affine, meta, like.applied_operations)


def _plain(image: MetaTensor) -> torch.Tensor:
    """The affine of a grid with the image's spacing, that begins at the origin."""
    spacing = np.linalg.norm(np.asarray(image.affine, float)[:3, :3], axis=0)
    return torch.from_numpy(np.diag([*spacing, 1.0]))
