"""A network of MONAI from the name of its class and its arguments.

Legend: B items, C channels, K classes, X Y Z voxels.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from medssl.errors import UsageError
from medssl.networks.heads import ManyHeads
from medssl.networks.merging import LEGACY, LegacyMerging
from medssl.networks.monai_encoders import encoder_in
from medssl.networks.monai_list import PREFIX
from medssl.networks.monai_settings import MonaiSettings

LAST_ANSWERS = {"BasicUNetPlusPlus", "DAF3D"}
"""Classes that list the map of their last and deepest part last; all others list it first."""


def build(settings: MonaiSettings, channels: int, classes: int) -> ManyHeads:
    """The network: images [B, C, X, Y, Z] to logits [B, K, X, Y, Z]; 2-D ones without Z.

    Raises:
        UsageError: its class refuses the arguments, or is not installed.
    """
    name, described = settings.name.removeprefix(PREFIX), settings.monai
    given = {"in_channels": channels, "out_channels": classes, **settings.arguments}
    if given.get("downsample") == LEGACY:
        given["downsample"] = LegacyMerging
    if described.dimensions is not None:
        given[described.dimensions] = settings.spatial_dims or 3
    network = constructed(name, given)
    own_loss = settings.weight_of_own_loss or 0.0
    return ManyHeads(network, name in LAST_ANSWERS, encoder_in(network), own_loss)


def constructed(name: str, given: Mapping[str, Any]) -> nn.Module:
    """The network that `monai.networks.nets.NAME` makes of all its arguments; lists become tuples.

    Raises:
        UsageError: it refuses them, or is not installed.
    """
    from monai.networks import nets

    from medssl.networks.monai_answers import CLASSES

    arguments = {key: _as_tuples(value) for key, value in given.items()}
    try:
        network: nn.Module = (CLASSES.get(name) or getattr(nets, name))(**arguments)
    except ImportError as error:
        raise UsageError(
            f"network.name={PREFIX}{name} wants a package that is not installed",
            (str(error).splitlines() or ["it says no more"])[0],
            "install it, if it suits the installed torch, or name another network",
        ) from error
    except Exception as error:  # whatever a class of another package refuses its arguments with
        raise UsageError(
            f"network.name={PREFIX}{name} cannot be built with its arguments",
            f"{type(error).__name__}: {' '.join(str(error).split()) or 'no reason is given'}",
            f"give others; MONAI's documentation of {name} says what they may be",
        ) from error
    return network


def _as_tuples(value: Any) -> Any:
    """Lists as tuples, as MONAI's own defaults are, at any depth."""
    if isinstance(value, dict):
        return {key: _as_tuples(one) for key, one in value.items()}
    return tuple(map(_as_tuples, value)) if isinstance(value, list | tuple) else value
