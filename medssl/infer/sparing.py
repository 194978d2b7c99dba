"""Prediction that goes on with less where a GPU's memory does not suffice.

First fewer windows are predicted at a time, down to one; then the sums of overlapping windows are
held on the CPU. What is computed stays the same.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from medssl.errors import UsageError
from medssl.infer.stitch import Stitch
from medssl.infer.window_grid import Triple

Note = Callable[[str], None]


def nobody(_: str) -> None:
    """Nobody listens."""


class Once:
    """Says each thing once, however many cases it happens in.

    Args:
        told: what was said, for others who say things of the same work; it grows.
    """

    def __init__(self, note: Note, told: set[str] | None = None) -> None:
        self._note, self._told = note, set[str]() if told is None else told

    def __call__(self, text: str) -> None:
        """Say it, unless it was said."""
        if text not in self._told:
            self._told.add(text)
            self._note(text)


def lacks_memory(error: BaseException) -> bool:
    """Whether an error says that there is no memory left, of whichever device."""
    no_room = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or no_room


class Sparing:
    """Calls of a predictor that become smaller where memory runs out.

    Args:
        predict: the windows at some corners, to logits [B, K, *patch].
        size: windows of a call, at most.
        note: is told what is done, in one sentence for each step down.
    """

    def __init__(
        self, predict: Callable[[list[Triple]], Tensor], size: int, note: Note = nobody
    ) -> None:
        self._predict, self._size, self._note = predict, size, note

    def answers(self, corners: list[Triple], stitch: Stitch) -> Iterator[tuple[Triple, Tensor]]:
        """Each corner with its window's logits, in order.

        Raises:
            UsageError: one window is too many, with all sums on the CPU.
        """
        place = 0
        while place < len(corners):
            batch = corners[place : place + self._size]
            outputs = self._tried(batch, stitch)
            if outputs is None:
                continue
            place += len(batch)
            yield from zip(batch, outputs, strict=True)
            del outputs

    def add(self, stitch: Stitch, corner: Triple, logits: Tensor) -> None:
        """Add a window's logits to the sums; on the CPU where they do not fit beside the network.

        Raises:
            UsageError: they do not fit there either.
        """
        try:
            stitch.add(corner, logits)
        except torch.OutOfMemoryError as error:
            self._hold_on_cpu(stitch, error)
            stitch.add(corner, logits)

    def _tried(self, batch: list[Triple], stitch: Stitch) -> Tensor | None:
        """Logits of some windows; None where they have to be asked for anew, in smaller calls."""
        try:
            return self._predict(batch)
        except torch.OutOfMemoryError as error:
            if len(batch) == 1:
                self._hold_on_cpu(stitch, error)
                return None
        self._size = max(1, len(batch) // 2)
        _free()
        windows = "one window" if self._size == 1 else f"{self._size} windows"
        self._note(f"the GPU's memory does not suffice: from here on {windows} at a time")
        return None

    def _hold_on_cpu(self, stitch: Stitch, error: torch.OutOfMemoryError) -> None:
        if stitch.on_cpu:
            raise UsageError(
                "the GPU's memory does not suffice for one window",
                str(error).partition("\n")[0],
                "predict with --device cpu, or train with a smaller patch",
            ) from error
        stitch.to_cpu()
        _free()
        self._note("the GPU's memory does not suffice: windows are put together on the CPU")


def _free() -> None:
    """Give back what torch keeps for later."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
