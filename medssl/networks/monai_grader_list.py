"""MONAI's networks that grade images, and their arguments; known without importing MONAI.

`python -m medssl.networks.monai_grader_list` writes the list anew from the installed MONAI.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from inspect import Parameter
from pathlib import Path
from typing import Any

from medssl.networks.monai_list import arguments_of, is_plain

LIST = Path(__file__).with_name("monai_graders.json")

CHANNELS = ("in_channels", "n_input_channels")
CLASSES = ("out_channels", "num_classes", "classes")
SIDES = ("img_size", "in_shape")
ALWAYS = {"spatial_dims": 2, "pretrained": False, "classification": True, "post_activation": ""}
"""Arguments that medssl itself gives; weights are never fetched, as a checkpoint brings its own."""

LEFT_OUT = {"progress", "feed_forward", "last_act", "image_size", "dropout"}
"""Arguments that nobody gives: what follows the features is that of all graders."""

RESNETS = tuple(f"resnet{depth}" for depth in (10, 18, 34, 50, 101, 152, 200))
"""Functions that make a `ResNet` of a known depth."""

OURS = {*CHANNELS, *CLASSES, *SIDES, *ALWAYS, *LEFT_OUT}


@dataclass(frozen=True)
class MonaiGrader:
    """A network of MONAI from images to logits [B, K], whose last layer is a linear one.

    Attributes:
        arguments: those that a pipeline may give, with their defaults; null where there is none.
        required: those of them without a default.
        channels, classes: the arguments that take their numbers.
        always: what medssl gives besides.
        sides: the argument that takes the sides of the crops; null: there is none.
        batch_norm: whether it normalises over the batch, whatever its arguments are.
    """

    arguments: Mapping[str, Any]
    required: Sequence[str]
    channels: str | None
    classes: str
    always: Mapping[str, Any]
    sides: str | None
    batch_norm: bool


@cache
def known_graders() -> Mapping[str, MonaiGrader]:
    """MONAI's networks that grade, by their names, sorted."""
    plain = json.loads(LIST.read_text(encoding="utf-8"))
    return {name: MonaiGrader(**one) for name, one in plain.items()}


def installed_graders() -> dict[str, MonaiGrader]:
    """What `known_graders` should be: read from the installed MONAI."""
    found = {name: _described(dict(own), batch) for name, own, batch in _installed()}
    return dict(sorted(found.items()))


def _installed() -> Iterator[tuple[str, dict[str, Parameter], bool]]:
    """Names, arguments, and whether batch norms are built in."""
    from monai.networks import nets

    built_in = (nets.SENet, nets.ResNet)  # whose `norm` reaches its first layer alone
    bases = (nets.DenseNet, nets.ResNet, nets.EfficientNet, nets.Classifier, nets.ViT, nets.SENet)
    others = (
        nets.Critic,  # one answer
        nets.Discriminator,
        nets.EfficientNetBNFeatures,  # maps
        nets.ResNetFeatures,
    )
    for one in vars(nets).values():
        if isinstance(one, type) and issubclass(one, bases) and not issubclass(one, others):
            own = dict(arguments_of(one))
            if issubclass(one, nets.SENet) and one is not nets.SENet:
                del own["block"]  # each has its own
            yield one.__name__, own, issubclass(one, built_in)
    of_depth = dict(arguments_of(nets.ResNet))
    for key in ("block", "layers", "block_inplanes"):
        del of_depth[key]
    for name in RESNETS:
        yield name, of_depth, True


def _described(own: Mapping[str, Parameter], batch_norm: bool) -> MonaiGrader:
    plain = {k: one for k, one in own.items() if k not in OURS and _may_be_written(one)}
    return MonaiGrader(
        arguments={
            name: None if one.default is one.empty else json.loads(json.dumps(one.default))
            for name, one in plain.items()
        },
        required=tuple(name for name, one in plain.items() if one.default is one.empty),
        channels=next((name for name in CHANNELS if name in own), None),
        classes=next(name for name in CLASSES if name in own),
        always={name: value for name, value in ALWAYS.items() if name in own},
        sides=next((name for name in SIDES if name in own), None),
        batch_norm=batch_norm,
    )


def _may_be_written(argument: Parameter) -> bool:
    return is_plain(argument) and argument.kind is not argument.VAR_KEYWORD


def as_text(networks: Mapping[str, MonaiGrader]) -> str:
    """The file that `known_graders` reads."""
    return json.dumps({name: asdict(one) for name, one in networks.items()}, indent=1) + "\n"


if __name__ == "__main__":
    LIST.write_text(as_text(installed_graders()), encoding="utf-8")
