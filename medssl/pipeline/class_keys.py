"""The arguments of MONAI's networks and losses, and of transforms, as keys, without MONAI."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from medssl.methods.segment import monai_losses
from medssl.networks.monai_encoder_keys import MONAI_ENCODERS
from medssl.networks.monai_grader_list import known_graders
from medssl.networks.monai_list import PREFIX, known
from medssl.pipeline.key import Key, Section, told
from medssl.transforms.catalogue import known_transforms


def class_names() -> list[str]:
    """Networks and losses as `monai:NAME`, transforms as a chain names them."""
    monai = (f"{PREFIX}{name}" for name in networks_and_losses())
    return [*dict.fromkeys(monai), *known_transforms()]


def networks_and_losses() -> Iterator[str]:
    """Names of MONAI's networks and losses, some twice."""
    yield from (*known(), *known_graders(), *monai_losses.known())


def describe_class(asked: str) -> str | None:
    """The arguments of a network, loss or transform for a reader, with `monai:` or without it.

    None where none is called so.
    """
    name = asked.removeprefix(PREFIX)
    if name in known_graders():
        return "\n".join(told(_grader(name))).rstrip()
    if name in known():
        return "\n".join(told(_network(name))).rstrip()
    if name in monai_losses.known():
        return "\n".join(told(_loss(name))).rstrip()
    return "\n".join(told(_transform(name))).rstrip() if name in known_transforms() else None


def _network(name: str) -> Section:
    found, full = known()[name], f"{PREFIX}{name}"
    able = "; its encoder can be pre-trained" if full in MONAI_ENCODERS else ""
    about = f"a network of MONAI, whose channels, classes and axes medssl gives{able}"
    optional = {key: one for key, one in found.arguments.items() if key not in found.required}
    return Section(full, about, tuple(_keys("network.", found.required, optional)))


def _grader(name: str) -> Section:
    found = known_graders()[name]
    about = (
        "a network of MONAI that grades images, whose channels, classes and axes medssl gives; "
        "without its last layer it encodes tiles, as `encoder.name`"
    )
    optional = {key: one for key, one in found.arguments.items() if key not in found.required}
    return Section(f"{PREFIX}{name}", about, tuple(_keys("network.", found.required, optional)))


def _loss(name: str) -> Section:
    found = monai_losses.known()[name]
    able = "; `loss.weights` weighs classes by name" if found.weighs else ""
    about = f"a loss of MONAI, of answers and labels as medssl gives them{able}"
    return Section(f"{PREFIX}{name}", about, tuple(_keys("loss.", (), found.arguments)))


def _transform(name: str) -> Section:
    found = known_transforms()[name]
    kind = f"{'random' if found.random else 'fixed'}, of the kind {found.group}"
    more = "; it takes other arguments too" if found.open else ""
    about = f"a transform, {kind}, in chains as {name} or as {{{name}: {{ARGUMENT: VALUE}}}}{more}"
    keys = Key("keys", "image, label or both", "", "left out: image, and label where voxels move")
    return Section(name, about, (*_keys("", found.required, found.optional), keys))


def _keys(before: str, required: Sequence[str], optional: Mapping[str, Any]) -> Iterator[Key]:
    for key in required:
        yield Key(f"{before}{key}", "", None, "")
    for key, default in optional.items():
        text = yaml.safe_dump(default, default_flow_style=True, width=10_000)
        yield Key(f"{before}{key}", "", text.removesuffix("...\n").strip(), "")
