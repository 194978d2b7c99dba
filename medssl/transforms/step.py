"""One transform of a chain, as plain values that are checked; free of torch and MONAI."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isnan
from typing import Any

from medssl.errors import MedsslError, UsageError
from medssl.mistakes import nearest
from medssl.registry import TRANSFORMS
from medssl.transforms.catalogue import Entry, describe, known_transforms

IMAGE, LABEL = "image", "label"
"""Names of an image and of its mask in the dictionary that goes through a chain."""

_DRAWN = ("Rand", "ColorJitter", "Auto", "Trivial", "AugMix", "Elastic", "ScaleJitter", "Gaussian")
"""How names of torchvision's transforms begin that draw from a state which all threads share."""


@dataclass(frozen=True)
class Step:
    """One transform with its arguments, as plain values."""

    name: str
    args: Mapping[str, Any]

    @property
    def entry(self) -> Entry:
        """What is known of it."""
        return entry_of(self.name)

    @property
    def moves(self) -> bool:
        """Whether it changes where voxels lie; one that is not known does if masks go with it."""
        return self.entry.moves or LABEL in self.keys

    @property
    def keys(self) -> Sequence[str]:
        """The images that it changes."""
        usual = [IMAGE, LABEL] if self.entry.moves else [IMAGE]
        given = self.args.get("keys", [LABEL] if self.entry.group == "post" else usual)
        return list(given) if isinstance(given, list | tuple) else [given]

    @property
    def makes(self) -> Sequence[str]:
        """Keys that are there after it and were not before."""
        made = {"CopyItemsd": "names", "ConcatItemsd": "name"}.get(self.name, "")
        given = self.args.get(made, [])
        return [given] if isinstance(given, str) else list(given)

    @property
    def plain(self) -> Any:
        """The step as a pipeline file has it."""
        return {self.name: dict(self.args)} if self.args else self.name

    def check(self) -> None:
        """Refuse arguments that the transform has not, or that it lacks, and impossible numbers.

        Raises:
            ValueError: names the nearest one.
        """
        name, entry = self.name, self.entry
        known = [*entry.required, *entry.optional, "keys"]
        for key in self.args:
            if str(key) not in known and not entry.open:
                instead = nearest(str(key), known)
                raise ValueError(f"the transform {name} has no argument '{key}'; {instead}")
        if missing := [key for key in entry.required if key not in self.args]:
            raise ValueError(
                f"the transform {name} needs {' and '.join(missing)}; "
                f"write {{{name}: {{{missing[0]}: ...}}}}"
            )
        given = self.args.get("keys", IMAGE)
        if not given or not all(isinstance(key, str) for key in self.keys):
            raise ValueError(f"keys of the transform {name} are {IMAGE}, {LABEL} or both")
        if name == "TorchVisiond" and str(self.args["name"]).startswith(_DRAWN):
            raise ValueError(
                f"the transform {name} draws what no seed of an item decides with "
                f"name={self.args['name']}; name one of MONAI's own"
            )
        self._must_have_ranges()
        for key, value in self.args.items():
            if any(map(isnan, _numbers(value))):
                raise ValueError(f"{key} of the transform {name} is not a number")
            chance = key == "prob" or key.startswith("prob_") or key.endswith("_prob")
            if chance and any(not 0 <= one <= 1 for one in _numbers(value)):
                raise ValueError(f"{key}={value} of the transform {name} is no chance from 0 to 1")

    def _must_have_ranges(self) -> None:
        name, args = self.name, self.args
        if "upper" in args and not _rises(lower := args.get("lower"), upper := args["upper"]):
            raise ValueError(f"lower={lower} and upper={upper} of the transform {name} do not rise")
        if "a_max" in args and (low := args["a_max"]) == args.get("a_min"):
            raise ValueError(f"a_min and a_max of the transform {name} are both {low}: no range")

    def must_not_ask_for_mask(self) -> None:
        """Refuse to let an image depend on its mask, which images to predict have not.

        Raises:
            ValueError: an argument names the mask.
        """
        asked = [key for key, one in self.args.items() if key != "keys" and one == LABEL]
        if asked and set(self.keys) - {LABEL}:
            raise ValueError(
                f"the transform {self.name} asks for the mask ({asked[0]}: {LABEL}), which no "
                f"image to predict has; write {asked[0]}: {IMAGE}, or leave it out"
            )


def must_find_keys(steps: Iterable[Step], masks: bool) -> None:
    """Refuse steps that are told to change what is not there: they would change nothing.

    Args:
        masks: whether masks go with the images.

    Raises:
        ValueError: names the first such step.
    """
    there = {IMAGE, LABEL}
    for step in steps:
        if step.name not in known_transforms():
            return  # it may make anything
        unknown = [key for key in step.keys if key not in there]
        if unknown:
            raise ValueError(
                f"the transform {step.name} has the key '{unknown[0]}', which nothing makes; "
                f"images have the key {IMAGE}" + (f", masks {LABEL}" if masks else "")
            )
        if not masks and not set(step.keys) - {LABEL}:
            raise ValueError(
                f"the transform {step.name} changes masks, and there are none; leave it out"
            )
        there.update(step.makes)


def _rises(low: Any, high: Any) -> bool:
    """Whether one number is below another; what are no two numbers is left to the transform."""
    numbers = isinstance(low, int | float) and isinstance(high, int | float)
    return not numbers or low < high


def _numbers(value: Any) -> Iterator[float]:
    """Those within an argument."""
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _numbers(one)
    elif isinstance(value, Mapping):
        yield from _numbers(list(value.values()))


@contextmanager
def failure_told(name: str) -> Iterator[None]:
    """Whatever a transform raises within becomes a sentence.

    Raises:
        UsageError: it raised what is no error of medssl's own, nor a lack of memory.
    """
    try:
        yield
    except (MedsslError, MemoryError):
        raise
    except Exception as error:
        raise UsageError(
            f"the transform {name} failed",
            f"{type(error).__name__}: {' '.join(str(error).split())}",
            "correct its arguments, or leave it out",
        ) from error


def entry_of(name: str) -> Entry:
    """What is known of a transform; UsageError where there is none of that name."""
    if name in known_transforms():
        return known_transforms()[name]
    TRANSFORMS.require(name)  # before MONAI is imported, which takes seconds
    from monai.transforms import MapTransform

    return describe(TRANSFORMS.find_class(name, MapTransform), "utility")
