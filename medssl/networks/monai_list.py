"""MONAI's networks that a pipeline may name, and their arguments; known without importing MONAI.

`python -m medssl.networks.monai_list` writes the list anew from the installed MONAI.
"""

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

LIST = Path(__file__).with_name("monai_networks.json")

PREFIX = "monai:"

CHANNELS = {"in_channels", "out_channels"}
DIMENSIONS = ("spatial_dims", "dimensions")
SIDES = ("img_size", "input_image_size", "input_shape")
"""Arguments that medssl itself gives: of images and classes, of volumes, of patches."""


@dataclass(frozen=True)
class MonaiClass:
    """The constructor of a network of MONAI.

    Attributes:
        arguments: those that a pipeline may give, with their defaults; null where there is none.
        required: those of them without a default.
        dimensions: the argument that takes the number of axes; null: there is none.
        sides: the argument that takes the sides of the patch; null: there is none.
    """

    arguments: Mapping[str, Any]
    required: Sequence[str]
    dimensions: str | None
    sides: str | None


@cache
def known() -> Mapping[str, MonaiClass]:
    """MONAI's networks by the names of their classes, sorted."""
    plain = json.loads(LIST.read_text(encoding="utf-8"))
    return {name: MonaiClass(**one) for name, one in plain.items()}


def installed() -> dict[str, MonaiClass]:
    """What `known` should be: read from the installed MONAI.

    A network takes channels of images and classes, and its forward the image alone.
    """
    from monai.networks import nets
    from torch import nn

    found = {}
    for one in vars(nets).values():
        if not (isinstance(one, type) and issubclass(one, nn.Module)):
            continue
        own = dict(arguments_of(one))
        needed = [
            key
            for key, argument in list(inspect.signature(one.forward).parameters.items())[1:]
            if argument.default is argument.empty and argument.kind is not argument.VAR_KEYWORD
        ]
        if own.keys() >= CHANNELS and len(needed) == 1:
            found[one.__name__] = _described(own)
    return dict(sorted(found.items()))


def arguments_of(network: type) -> Iterator[tuple[str, inspect.Parameter]]:
    """Arguments of a constructor, those that it hands on to its base class last."""
    own: dict[str, inspect.Parameter] = {}
    for kind in network.__mro__:
        if "__init__" in vars(kind):
            given = inspect.signature(kind.__init__).parameters  # type: ignore[misc]
            own = {**given, **own}
            if not any(one.kind is one.VAR_KEYWORD for one in given.values()):
                break
    for name, one in own.items():
        if name != "self" and one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY):
            yield name, one


def _described(own: Mapping[str, inspect.Parameter]) -> MonaiClass:
    ours = {*CHANNELS, *DIMENSIONS, *SIDES}
    plain = {name: one for name, one in own.items() if name not in ours and is_plain(one)}
    return MonaiClass(
        arguments={
            name: None if one.default is one.empty else json.loads(json.dumps(one.default))
            for name, one in plain.items()
        },
        required=tuple(name for name, one in plain.items() if one.default is one.empty),
        dimensions=next((name for name in DIMENSIONS if name in own), None),
        sides=next((name for name in SIDES if name in own), None),
    )


def is_plain(argument: inspect.Parameter) -> bool:
    """Whether a value can be written in a pipeline; classes, modules and functions cannot."""
    if argument.default is argument.empty or argument.default is None:
        return "Callable" not in str(argument.annotation)
    return not isinstance(argument.default, type)


def as_text(networks: Mapping[str, MonaiClass]) -> str:
    """The file that `known` reads."""
    return json.dumps({name: asdict(one) for name, one in networks.items()}, indent=1) + "\n"


if __name__ == "__main__":
    LIST.write_text(as_text(installed()), encoding="utf-8")
