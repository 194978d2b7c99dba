"""State that decides what is done next, which the host reads without waiting for a device."""

from collections.abc import Callable
from typing import Any, ClassVar, Self

from torch import nn


class OnHost(nn.Module):
    """A module some of whose buffers stay on the CPU, and as they are, wherever it is moved.

    Attributes:
        on_host: their names.
    """

    on_host: ClassVar[tuple[str, ...]] = ()

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        kept = {name: self._buffers[name] for name in self.on_host}
        self._buffers.update(dict.fromkeys(kept))
        try:
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        finally:
            self._buffers.update(kept)
        return self
