"""Labelled patches of which parts are ignored: these parts are learnt like unlabelled patches.

Source: sheet of partial labels, section 6.

Legend: B items, V views, X Y Z voxels.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from medssl.data.batch import Batch


def streams(batches: Mapping[str, Batch], even: bool = False) -> tuple[Batch, Batch]:
    """The labelled patches, and the unlabelled ones.

    Where voxels of labelled patches are ignored, these patches are among the unlabelled ones too;
    `known` of the latter says where they must not be taught.

    Args:
        even: let none of the labelled patches, or an even number of them, be among the others.
    """
    labelled, unlabelled = batches["labelled"], batches["unlabelled"]
    if labelled.known is None:
        return labelled, unlabelled
    count = len(labelled.ids) - len(labelled.ids) % 2 if even else len(labelled.ids)
    known = labelled.known[:count]
    nowhere = known.new_zeros(len(unlabelled.ids), *known.shape[1:])
    both = Batch(
        image=torch.cat([unlabelled.image, labelled.image[:count]]),
        label=None,
        start=torch.cat([unlabelled.start, labelled.start[:count]]),
        ids=(*unlabelled.ids, *labelled.ids[:count]),
        known=torch.cat([nowhere, known]),
    )
    return labelled, both


def teachable(unlabelled: Batch) -> Tensor:
    """[B, X, Y, Z] bool: where unlabelled patches, as `streams` gives them, are to be taught."""
    if unlabelled.known is not None:
        return ~unlabelled.known
    shape = unlabelled.image.shape
    return torch.ones(shape[0], *shape[3:], dtype=torch.bool, device=unlabelled.image.device)
