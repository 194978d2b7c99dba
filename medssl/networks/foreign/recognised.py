"""What is made of a file of another project: settings of a network, and weights by its names.

A family is one way to name and shape an encoder, e.g. nnU-Net's; it says by which names a file of
it is known, and how those become ours. What a file does not say of itself (normalisation, spacing,
licence) is of its `Facts`, or is asked for; nothing is guessed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from medssl.errors import DataError, UsageError
from medssl.names import some_of
from medssl.networks.weights_file import WeightsFile

UNKNOWN = "not stated"


@dataclass(frozen=True)
class Facts:
    """What is known of published weights beside what their file says.

    Attributes:
        title: what they are, in a few words.
        licence: of the weights.
        citation: what their authors ask to cite.
        commerce: whether the licence allows commercial use; None: not known.
        preprocess: what was done to the images, as the section `preprocess` of a pipeline; of tiles
            an empty chain.
        patch: sides in voxels, or pixels, that they were trained on; empty: not known.
        mpp: microns per pixel of tiles; 0: not of slides, or not known.
    """

    title: str
    licence: str = UNKNOWN
    citation: str = UNKNOWN
    commerce: bool | None = None
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    patch: tuple[int, ...] = ()
    mpp: float = 0.0


@dataclass(frozen=True)
class Recognised:
    """An encoder of another project as one of medssl.

    Attributes:
        family: its name, see `FAMILIES`.
        original: the class whose features it gives, e.g. "monai SwinUNETR".
        network: keys of the section `network`, or `encoder` of images, that build it.
        volumes: whether it encodes volumes; else images.
        channels: of what it reads.
        weights: by the names of the encoder of medssl; all of them, and no other.
        left_out: names in the file of whole parts that are no encoder, such as decoders and heads.
        facts: what else is known.
    """

    family: str
    original: str
    network: Mapping[str, Any]
    volumes: bool
    channels: int
    weights: Mapping[str, Tensor]
    left_out: tuple[str, ...]
    facts: Facts


@dataclass(frozen=True)
class Family:
    """One way in which others name and shape an encoder.

    Attributes:
        name: as `--family` says it.
        summary: what files are of it, for the list of families.
        fits: whether a file's names, and the file's own, are those of the family.
        read: what a file of it holds.

    Raises:
        UsageError: `read`: a fact is missing that the features depend on.
        DataError: `read`: the file lacks a part of the encoder.
    """

    name: str
    summary: str
    fits: Callable[[WeightsFile], bool]
    read: Callable[[WeightsFile], Recognised]


def without(names: Mapping[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    """The tensors without what training code puts before their names, such as "module."."""
    found = {}
    for name, value in names.items():
        plain = name
        while prefix := next((one for one in prefixes if plain.startswith(one)), ""):
            plain = plain.removeprefix(prefix)
        found[plain] = value
    return found


def divided(
    tensors: Mapping[str, Tensor], renamed: Callable[[str], str | None]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Tensors by our names, and the names of those that are left out.

    Args:
        renamed: our name for one of theirs; None: it belongs to no encoder.
    """
    found, left = {}, []
    for name, value in tensors.items():
        ours = renamed(name)
        if ours is None:
            left.append(name)
        else:
            found[ours] = value
    return found, tuple(left)


def shape_of(tensors: Mapping[str, Tensor], name: str, axes: int, family: str) -> tuple[int, ...]:
    """The shape of a tensor that every file of a family has.

    Raises:
        DataError: it is missing, or has other axes.
    """
    value = tensors.get(name)
    if value is None or value.ndim != axes or not value.numel():
        raise DataError(
            f"the file is no encoder of the family {family}",
            f"it lacks {name}, or has it in another shape",
            "take another copy, or name the family that it is of with --family",
        )
    return tuple(value.shape)


def one_of(families: Mapping[str, Family], file: WeightsFile, asked: str | None) -> Family:
    """The family of a file: the one that is asked for, or the only one that fits.

    Raises:
        UsageError: there is no such family, or several could be meant.
        DataError: none fits.
    """
    if asked is not None:
        if asked not in families:
            from medssl.mistakes import nearest

            do = nearest(asked, list(families)) or f"choose one of {', '.join(families)}"
            raise UsageError(f"no family of encoders is called {asked!r}", do=do)
        return families[asked]
    fitting = [one for one in families.values() if one.fits(file)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise UsageError(
            f"{file.path} does not say of which family it is",
            "the same names and shapes are used by several, whose features or images differ",
            f"say it: --family {' or '.join(one.name for one in fitting)}",
        )
    raise DataError(
        f"{file.path} holds an encoder of no family that medssl knows",
        f"it names {some_of(list(file.tensors))}",
        f"known are {', '.join(families)}",
    )
