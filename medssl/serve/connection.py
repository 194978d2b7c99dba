"""Connections that do not wait for ever: who connects must soon say what he wants."""

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol


class Impatient(H11Protocol):
    """Closes a connection whose next request has no complete head after some seconds.

    uvicorn by itself waits without end for the head of a request. Between requests its own limit
    holds, and for bodies the guard's.
    """

    patience_s: ClassVar[float] = 30.0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the clock of a client that connects."""
        super().connection_made(transport)
        self._watch()

    def handle_events(self) -> None:
        """Stop or restart that clock as the client sends."""
        super().handle_events()
        if self.cycle is None or self.cycle.response_complete:
            self._watch()
        elif self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.patience_s, self.transport.close)


def impatient(patience_s: float) -> type[H11Protocol]:
    """The protocol with so much patience."""
    return type("Impatient", (Impatient,), {"patience_s": patience_s})
