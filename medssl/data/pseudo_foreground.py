"""Which unlabelled patches hold foreground: what the network in training takes for it.

At fixed steps the unlabelled cases are predicted whole, and some voxels of each class are kept. The
batches of the next steps aim at these, so a batch is a function of its number and of what the last
look found; that is part of the saved state, so a training that is resumed draws the same batches.

Legend: N voxels, n batches.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from medssl.data.foreground import Aim, By
from medssl.errors import DataError
from medssl.settings import MOST_WORKERS

MOST = 1_000
"""Voxels of a class that are kept of a case, where these are more than a hundredth of it."""

LAG = MOST_WORKERS
"""Steps between a look and the first batch that knows of it: so many batches are drawn ahead."""


@dataclass(frozen=True)
class _Seen:
    """What one case is taken for: [N, 4] uint16, as `find_class_voxels` gives it."""

    class_voxels: np.ndarray


class PseudoForeground:
    """What was found in the unlabelled cases, look by look.

    Batches 0 to `refresh` - 1 know of no look, the next `refresh` of the first, and so on.

    Args:
        find: predicts every unlabelled case by the present weights, and gives the class voxels of
            each, in the order of the stream's cases.
        refresh: steps between looks, more than LAG.
    """

    def __init__(self, find: Callable[[], Sequence[np.ndarray]], refresh: int, by: By) -> None:
        self._find, self._refresh, self._by = find, refresh, by
        self._aims: dict[int, Aim] = {}

    def due(self, step: int) -> bool:
        """Whether it is time to predict the cases, after `step` steps."""
        return (step + LAG) % self._refresh == 0

    def look(self, step: int) -> None:
        """Predict the cases, after `step` steps."""
        number = (step + LAG) // self._refresh
        kept = {old: aim for old, aim in self._aims.items() if old == number - 1}
        self._aims = {**kept, number: self._aim(self._find())}

    def aim(self, number: int) -> Aim | None:
        """What batch `number`, counted from 0, may aim at; None before the first look."""
        look = number // self._refresh
        return self._aims[look] if look else None

    def state(self) -> dict[str, Any]:
        """What is needed to go on, as plain values and tensors."""
        return {
            str(number): [torch.from_numpy(_of(case).astype(np.int32)) for case in aim.cases]
            for number, aim in self._aims.items()
        }

    def restore(self, state: dict[str, Any], step: int) -> None:
        """Put back what `state` gave after `step` steps.

        Raises:
            DataError: it lacks what the next batches need.
        """
        self._aims = {
            int(number): self._aim([one.numpy().astype(np.uint16) for one in found])
            for number, found in state.items()
        }
        needed = {step // self._refresh, (step + LAG) // self._refresh} - {0}
        if not needed <= self._aims.keys():
            raise DataError(
                "the kept training state does not say where unlabelled patches are centred",
                "it was written with another train.foreground_unlabelled or foreground_refresh",
                "train anew with --fresh",
            )

    def _aim(self, found: Sequence[np.ndarray]) -> Aim:
        return Aim([_Seen(one) for one in found], self._by)


def _of(case: Any) -> np.ndarray:
    voxels: np.ndarray = case.class_voxels
    return voxels
