"""Which networks are 2-D: those whose patches are one voxel thick. Free of torch."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from medssl.errors import UsageError
from medssl.registry import NETWORKS
from medssl.section import Patch

Dims = Annotated[
    Literal[2, 3] | None,
    Field(
        exclude_if=lambda given: given is None,
        description="of the network: 2 for pictures and single slices; null: 2 where train.patch "
        "is one voxel thick and the network has a 2-D form, else 3",
    ),
]
"""Axes that a network's kernels have."""

AnyChoice = TypeVar("AnyChoice", bound=Any)


def sized(network: AnyChoice, patch: Patch) -> AnyChoice:
    """The same network, 2-D where the patch is one voxel thick and there is such a form.

    Raises:
        ValueError: it says that it is 2-D, and the patch is a box.
    """
    if network.spatial_dims == 2 and patch[2] != 1:
        raise ValueError(
            f"network.spatial_dims=2 is for 2-D images and train.patch={list(patch)} is a box: "
            f"set train.patch={list(patch[:2])}, or leave spatial_dims out"
        )
    if network.spatial_dims is None and patch[2] == 1 and network.kind.flat:
        found: AnyChoice = network.model_copy(update={"spatial_dims": 2})
        return found
    return network


def must_be_offered_flat(network: Any, patch: Patch) -> None:
    """Refuse a 2-D patch where a network has no 2-D form and cannot take it as a box.

    Raises:
        UsageError: names the networks that have one.
    """
    asked = network.spatial_dims == 2 and not network.kind.flat
    if asked or (patch[2] == 1 and not network.is_flat and network.side_multiples[2] > 1):
        kinds = [NETWORKS.find(name, type(network.kind)) for name in NETWORKS.names()]
        flat = [name for name, kind in zip(NETWORKS.names(), kinds, strict=True) if kind.flat]
        raise UsageError(
            f"network.name={network.name} has no 2-D form",
            f"train.patch={list(patch)} is one voxel thick",
            f"choose one of: {', '.join(flat)}, or a network of MONAI",
        )
