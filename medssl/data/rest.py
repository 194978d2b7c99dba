"""The part of a chain that is not cached: from its first random transform on, for each item anew.

Whoever asks for the item of a number gets the same: each step is drawn by a seed of its own, and a
thread has transforms of its own.
"""

from dataclasses import dataclass, field
from threading import local

import numpy as np
import torch

from medssl.data.changes import Change, Data
from medssl.errors import UsageError
from medssl.transforms.step import IMAGE, Step


@dataclass(frozen=True)
class Rest:
    """Steps that act on whole images before anything is cut from them; false without any.

    Raises:
        UsageError: a transform refuses its arguments.
    """

    steps: tuple[Step, ...] = ()
    _own: local = field(default_factory=local, compare=False, repr=False)

    def __post_init__(self) -> None:
        _ = self._changes

    def __bool__(self) -> bool:
        return bool(self.steps)

    @property
    def _changes(self) -> list[Change]:
        """The transforms of this thread."""
        if not hasattr(self._own, "changes"):
            self._own.changes = [Change(step) for step in self.steps]
        found: list[Change] = self._own.changes
        return found

    def __call__(self, image: np.ndarray, case: str, *by: int) -> np.ndarray:
        """An image [C, ...] as the item whose seeds are `by` sees it, float32 of the same shape.

        Raises:
            UsageError: a transform fails, changes the size or makes it not finite; names the
                transform and the case.
        """
        seeds = np.random.SeedSequence(by).generate_state(max(1, len(self.steps)))
        whole = np.array(image, np.float32)
        flat = whole[..., 0] if whole.ndim == 4 and whole.shape[-1] == 1 else whole
        data: Data = {IMAGE: torch.from_numpy(flat)}
        try:
            for change, seed in zip(self._changes, seeds.tolist(), strict=False):
                data = change.change(data, seed)
                if not bool(torch.isfinite(data[IMAGE]).all()):
                    raise UsageError(
                        f"the transform {change.name} makes values that are not finite",
                        "NaN or infinity cannot be learnt from",
                        "correct its arguments, or leave it out",
                    )
        except UsageError as error:
            raise UsageError(f"case {case}: {error.what}", error.why, error.do) from error
        return np.ascontiguousarray(data[IMAGE].float().numpy().reshape(whole.shape))

    def in_bytes(self, image: np.ndarray, case: str, *by: int) -> np.ndarray:
        """As the call, of an image of bytes: rounded, and clipped to what bytes hold."""
        rounded: np.ndarray = np.rint(self(image, case, *by)).clip(0, 255).astype(np.uint8)
        return rounded


NOTHING = Rest()
"""Images are seen as they are kept."""
