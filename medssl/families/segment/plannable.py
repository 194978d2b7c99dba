"""Which keys of a pipeline are left to a plan: those that it could give, and that are not given."""

from collections.abc import Mapping
from typing import Any

from medssl.data.plan.request import Fixed
from medssl.networks.settings import UNETS

LEVELS = ("features", "strides", "kernels", "blocks")
"""Keys of nnU-Net's networks with one entry per level; of any other, only the patch is planned."""

NETWORK = ("name", *LEVELS, "decoder_convs", "deep_supervision")
TRAIN = ("patch", "batch_labelled", "batch_unlabelled", "steps")
LAYOUT = "channels_last"
"""Of the weights of nnU-Net's networks; others have their own."""

OPTIMISER = ("name", "learning_rate")
"""Planned together, where the pipeline gives neither; its other keys do not matter."""

CHAINS = {
    "mr": ("orientation", "spacing", "crop_foreground", "intensity"),
    "ct": ("orientation", "spacing", "window", "zscore"),
}

Plain = Mapping[str, Any]


def plannable(given: Plain, modality: str) -> list[str]:
    """Keys with dots that a plan may give to a pipeline with these keys.

    Args:
        given: those of the pipeline, as plain values.
        modality: of the data set, as in its data spec.
    """
    train = _part(given, "train")
    found = [f"train.{key}" for key in TRAIN if key not in train]
    if not set(OPTIMISER) & set(_part(train, "optimiser")):
        found += [f"train.optimiser.{key}" for key in OPTIMISER]
    word = chain_word(given, modality)
    if word is not None:
        keys = _part(_part(given, "preprocess"), word)
        found += [f"preprocess.{word}.{key}" for key in CHAINS[word] if key not in keys]
    network = network_keys(given)
    if network.get("name", UNETS[0]) in UNETS:
        found += [f"network.{key}" for key in NETWORK if key not in network]
        found += [f"train.{LAYOUT}"] if LAYOUT not in train else []
    if _leaves_mirrors(given):
        found.append("augment.standard.mirror_axes")
    return found


def steering(given: Plain) -> dict[str, Any]:
    """The given keys that change what is planned, or leave less to plan."""
    train = _part(given, "train")
    return {
        "preprocess": given.get("preprocess"),
        "network": network_keys(given),
        "augment": not _leaves_mirrors(given),
        "train": {key: train[key] for key in (*TRAIN, LAYOUT, "optimiser") if key in train},
    }


def chain_word(given: Plain, modality: str) -> str | None:
    """The word whose keys are planned: the pipeline's own, or that of the modality.

    None where the pipeline has a chain of transforms, which stays as it is.
    """
    own = given.get("preprocess")
    if own is None:
        return "ct" if modality == "CT" else "mr"
    names = [own] if isinstance(own, str) else list(own) if isinstance(own, Mapping) else []
    return names[0] if len(names) == 1 and names[0] in CHAINS else None


def network_keys(given: Plain) -> dict[str, Any]:
    """The keys of the network; it may be given by its name alone."""
    own = given.get("network")
    return {"name": own} if isinstance(own, str) else dict(own or {})


def without_levels(given: Plain) -> dict[str, Any]:
    """The keys of a pipeline without those of a U-Net whose levels are still to be planned.

    So that the pipeline can be read before. All keys are looked at once they are complete.
    """
    own = network_keys(given)
    name = own.get("name", UNETS[0])
    if name not in UNETS or all(key in own for key in LEVELS):
        return dict(given)
    return {**given, "network": {"name": name}}


def fixed(given: Plain, modality: str, steps: list[Any]) -> Fixed:
    """What was given of that which other sizes follow from.

    Args:
        steps: of the chain of the pipeline, as plain values.
    """
    patch = _part(given, "train").get("patch")
    word = chain_word(given, modality)
    if word is None:
        spacing = _resampled(steps)
        return Fixed(spacing, spacing is None, _crops(steps), patch and tuple(patch))
    keys = _part(_part(given, "preprocess"), word)
    spacing = keys.get("spacing")
    return Fixed(
        tuple(map(float, spacing)) if spacing else None,
        "spacing" in keys and not spacing,
        keys.get("crop_foreground"),
        patch and tuple(patch),
    )


def _leaves_mirrors(given: Plain) -> bool:
    """Whether the random changes are the standard ones, without a word on the axes that mirror."""
    own = given.get("augment")
    if not isinstance(own, Mapping):
        return own in (None, "standard")
    inner = own.get("standard")
    return len(own) == 1 and isinstance(inner, Mapping) and "mirror_axes" not in inner


def _part(given: Plain, name: str) -> Plain:
    """A group of keys; what is no group has none."""
    own = given.get(name)
    return own if isinstance(own, Mapping) else {}


def _resampled(steps: list[Any]) -> tuple[float, ...] | None:
    """The spacing that a chain brings scans to; None: they keep theirs."""
    for step in steps:
        for name, arguments in step.items() if isinstance(step, Mapping) else ():
            if name in ("medssl:FieldSpacingd", "Spacingd") and arguments.get("pixdim"):
                sides = arguments["pixdim"]
                return tuple(map(float, sides)) if isinstance(sides, list | tuple) else None
    return None


def _crops(steps: list[Any]) -> bool:
    """Whether a chain cuts away empty margins."""
    names = [step if isinstance(step, str) else next(iter(step)) for step in steps]
    return any(name in ("medssl:CropMarkedd", "CropForegroundd") for name in names)
