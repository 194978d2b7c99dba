"""State that decides what is done next, which the host reads without waiting for a device."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Self

from torch import nn


class OnHost(nn.Module):
    """A module some of whose buffers stay on the CPU, and as they are, wherever it is moved.

    Attributes:
        on_host: their names.
    """

    on_host: ClassVar[tuple[str, ...]] = ()

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        with self.kept_aside():
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    @contextmanager
    def kept_aside(self) -> Iterator[None]:
        """While it lasts, these buffers are not among the others."""
        kept = {name: self._buffers[name] for name in self.on_host}
        self._buffers.update(dict.fromkeys(kept))
        try:
            yield
        finally:
            self._buffers.update(kept)
