"""Which corrections a mask gets, as settings say it or as a cross-validation chose it.

Free of numpy, so that a pipeline with an unknown class is refused at once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from medssl.errors import UsageError
from medssl.mistakes import nearest
from medssl.settings import PredictSettings

if TYPE_CHECKING:
    import numpy as np


CORRECTIONS = ("largest_component", "smallest_ml", "fill_holes")
"""The keys of `predict` that correct masks."""


@dataclass(frozen=True)
class Cleaning:
    """Corrections of class indices, in this order.

    Attributes:
        largest: classes of which the largest connected part alone is kept.
        smallest: volume in ml by class, below which connected parts are dropped.
        holes: classes whose holes are filled.
    """

    largest: tuple[int, ...] = ()
    smallest: tuple[tuple[int, float], ...] = ()
    holes: tuple[int, ...] = ()

    @classmethod
    def of(cls, settings: PredictSettings, classes: Sequence[str]) -> Self:
        """What settings ask for; keys that are null ask for nothing.

        Args:
            classes: names, background first.

        Raises:
            UsageError: a class is not known (names the nearest).
        """
        named = {name: index for index, name in enumerate(classes) if index}
        smallest = settings.smallest_ml
        if not isinstance(smallest, dict):
            smallest = {} if smallest is None else dict.fromkeys(named, smallest)
        return cls(
            _indices("largest_component", settings.largest_component, named),
            tuple(zip(_indices("smallest_ml", smallest, named), smallest.values(), strict=True)),
            _indices("fill_holes", settings.fill_holes, named),
        )

    def __call__(self, labels: "np.ndarray", voxel: float) -> "np.ndarray":
        """Class indices [X, Y, Z] uint8, corrected; `voxel` is its volume in cubic millimetres."""
        from medssl.infer.postprocess import drop_small, fill_holes, largest_component

        if self.largest:
            labels = largest_component(labels, self.largest)
        if self.smallest:
            limits = {index: volume * 1000 / voxel for index, volume in self.smallest}
            labels = drop_small(labels, limits)
        return fill_holes(labels, self.holes) if self.holes else labels


def _indices(
    key: str, given: bool | Iterable[str] | None, named: dict[str, int]
) -> tuple[int, ...]:
    """The classes that a key means: all, none, or those of the given names."""
    if given is None or isinstance(given, bool):
        return tuple(named.values()) if given else ()
    for name in given:
        if name not in named:
            raise UsageError(
                f"predict.{key} names '{name}', which is no class", do=nearest(name, list(named))
            )
    return tuple(named[name] for name in given)
