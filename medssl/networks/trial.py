"""What a network does is found by trying, before training reads any data.

Legend: B items, C channels, K classes, X Y Z voxels.
"""

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from medssl.errors import UsageError
from medssl.networks.build import build_network
from medssl.networks.choice import NetworkChoice
from medssl.networks.heads import heads_of
from medssl.networks.monai_tile_settings import MonaiTileSettings
from medssl.networks.tile_encoder import build_tile_encoder
from medssl.section import MOST, Patch

STEPS = (2, 4, 8, 16, 32, 64)
"""Multiples that a network's sides often have to be."""


def must_rebuild(
    networks: Iterable[nn.Module], settings: NetworkChoice, channels: int, classes: int
) -> None:
    """Refuse networks that a checkpoint could not build again from its description.

    Args:
        networks: what will be saved.
        settings: what will be written of them, as JSON.

    Raises:
        UsageError: what is built from it has other weights, by name or shape.
    """
    described = type(settings).model_validate_json(settings.model_dump_json())
    must_be_alike(
        networks,
        build_network(described, channels, classes, seed=0),
        settings.name,
        "have the method take its networks from medssl.networks.build.build_network, and "
        "name the one that it needs under network, e.g. monai:DynUNet",
    )


def must_be_alike(
    networks: Iterable[nn.Module],
    described: nn.Module,
    name: str,
    advice: str,
    section: str = "network",
) -> None:
    """Refuse networks whose weights are not those, by name and shape, of the one described.

    Args:
        described: what is built from what a checkpoint would say.
        name: of the network, as the pipeline says it.
        advice: what to do.
        section: of the pipeline, in which the name stands.

    Raises:
        UsageError: says how many differ.
    """
    own = _shapes(described)
    for network in networks:
        found = _shapes(network)
        differing = [key for key in {**own, **found} if own.get(key) != found.get(key)]
        if differing:
            raise UsageError(
                f"what {section}.name={name} builds is not what the method trains",
                f"{len(differing)} weights differ in name or shape, such as {differing[0]}, so its "
                "checkpoint could not be loaded",
                advice,
            )


def must_answer(
    settings: NetworkChoice, channels: int, classes: int, patch: Patch, items: int
) -> None:
    """Refuse a network that does not map patches to logits of their size.

    Args:
        patch: sides in voxels.
        items: patches of the smallest batch in training.

    Raises:
        UsageError: it cannot be built, fails, or answers with another shape; names the nearest
            patch that would do, where one is found.
    """
    reason = _fails(settings, channels, classes, patch, items)
    if not reason:
        return
    what = f"network.name={settings.name} cannot be trained on train.patch={list(patch)}"
    for near in _near(patch):
        if _takes(settings, channels, classes, near, items):
            for axis in range(3):
                x, y, z = (patch[one] if one == axis else near[one] for one in range(3))
                kept = (x, y, z)
                if kept != patch and _takes(settings, channels, classes, kept, items):
                    near = kept  # noqa: PLW2901 - nearer still
            raise UsageError(what, reason, f"the nearest that fits is train.patch={list(near)}")
    raise UsageError(what, reason, "change its arguments or the patch, or name another network")


def must_encode(settings: MonaiTileSettings, sides: Iterable[int]) -> None:
    """Refuse a network of MONAI that makes no features of images of some sides.

    Raises:
        UsageError: it cannot be built, gives no features or fails.
    """
    fresh = settings.model_copy(update={"weights": None})
    for side in dict.fromkeys(sides):
        must_pass(
            build_tile_encoder(fresh, seed=0).backbone,
            (settings.channels, side, side),
            f"encoder.name={settings.name} cannot encode images of {side} x {side} pixels",
            "change its arguments or encoder.side, or name another network",
        )


def must_pass(network: nn.Module, shape: Sequence[int], what: str, do: str) -> None:
    """Refuse a network that fails on images of a shape, in training or after it.

    Tensors without values tell; only where a network needs values it is given zeros.

    Args:
        network: it is left as it was.
        shape: of one item.
        what: the network and the images, in words, for the message: what cannot be.
        do: what may be changed.

    Raises:
        UsageError: says what it fails with.
    """
    reason = ""
    for device in ("meta", "cpu"):
        tried = deepcopy(network).to(device)
        images = torch.zeros(2, *shape, device=device)
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                tried.train()(images)
                tried.eval()(images)
        except Exception as error:  # whatever a network of another package fails with
            text = " ".join(str(error).split())
            reason = f"{type(error).__name__}: {text[:200] or 'no reason is given'}"
            continue
        return
    raise UsageError(what, reason, do)


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def _near(patch: Patch) -> Iterator[Patch]:
    """Patches whose sides are rounded to multiples, the finest first."""
    for step in STEPS:
        x, y, z = (min(max(step, round(side / step) * step), MOST) for side in patch)
        z = 1 if patch[2] == 1 else z
        if (x, y, z) != patch:
            yield x, y, z


def _takes(settings: NetworkChoice, channels: int, classes: int, patch: Patch, items: int) -> bool:
    try:
        return not _fails(settings.unsized().sized(patch), channels, classes, patch, items)
    except UsageError:
        return False


def _fails(settings: NetworkChoice, channels: int, classes: int, patch: Patch, items: int) -> str:
    """Why a network cannot take a patch; empty where it can.

    Tensors without values tell; only where a network needs values it is given zeros.
    """
    reason = ""
    for device in ("meta", "cpu"):
        network = build_network(settings, channels, classes, seed=0).to(device)
        image = torch.zeros(items, channels, *patch, device=device)
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                maps = heads_of(network.train(), image)
                answer = network.eval()(image[:1])
        except Exception as error:  # whatever a network of another package fails with
            text = " ".join(str(error).split())
            reason = f"{type(error).__name__}: {text[:200] or 'no reason is given'}"
            continue
        return _unlike(maps, (items, classes, *patch)) or _unlike([answer], (1, classes, *patch))
    return reason


def _unlike(maps: Sequence[object], wanted: tuple[int, ...]) -> str:
    """How maps differ from what is wanted of the first; the others may be coarser."""
    shapes = [tuple(one.shape) if isinstance(one, Tensor) else () for one in maps]
    if any(len(one) != len(wanted) or one[:2] != wanted[:2] for one in shapes):
        return f"it returns {shapes}, and logits of {wanted} are wanted"
    if shapes[0] != wanted:
        return f"it answers with {list(shapes[0][2:])} voxels"
    return ""
