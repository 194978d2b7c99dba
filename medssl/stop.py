"""A wish to stop, by a signal: heard at once, or where it does no harm.

The handler raises `Stopped` in the main thread, wherever that is at work. Inside `held` it only
takes note: the training loop ends its step, a file gets its name, a run of MLflow is closed.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from medssl.errors import Stopped

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""The system's, the user's (Ctrl-C) and SLURM's."""


class Stop:
    """Whether a signal has asked for a stop."""

    def __init__(self) -> None:
        self.requested = False
        self._noted = self._hurried = self._listens = self._ended = False
        self._depth = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raise or take note; whoever presses Ctrl-C a second time does not want to wait."""
        again, self.requested = self.requested, True
        if self._ended or (again and number != signal.SIGINT):
            return
        if again or not self._depth:
            self._hurried = again
            raise _stopped()
        self._noted = True

    def listen(self) -> None:
        """Let signals ask for a stop until the process ends."""
        self.requested = self._noted = self._hurried = self._ended = False
        self._listens = True
        for number in SIGNALS:
            signal.signal(number, self)

    def end(self) -> None:
        """The work is over: from now on signals do nothing to a process that is leaving."""
        self._ended, self._listens = True, False

    def hurry(self) -> None:
        """Leave without waiting for threads, of which one is stuck."""
        self._hurried = True

    def leave(self, code: int) -> NoReturn:
        """End the process; whoever pressed Ctrl-C twice does not wait for its threads either."""
        if self._hurried:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        raise SystemExit(code)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Signals ask for a stop inside the block, and mean what they meant before after it.

        Outside the main thread signals belong to the caller, and the wish never comes.
        """
        if self._listens or not _in_main_thread():
            yield
            return
        before, ended = {number: signal.getsignal(number) for number in SIGNALS}, self._ended
        self.listen()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler or signal.SIG_DFL)
            self.requested = self._noted = self._listens = False
            self._ended = ended

    @contextmanager
    def held(self) -> Iterator["Stop"]:
        """A signal does not interrupt the block, but is obeyed at its end.

        Other threads are never interrupted. A wish that something passed over, as an import of C
        code may, is obeyed here before the block begins.

        Raises:
            Stopped: a signal came.
        """
        if not _in_main_thread():
            yield self
            return
        if self.requested and not (self._depth or self._ended or sys.exc_info()[0]):
            raise _stopped()
        self._depth += 1
        try:
            yield self
        except Stopped:
            self._noted = False
            raise
        finally:
            self._depth -= 1
        if self._noted and not self._depth:
            self._noted = False
            raise _stopped()


STOP = Stop()
"""The one of this process."""

held, listening = STOP.held, STOP.listening


def _stopped() -> Stopped:
    return Stopped("stopped", "asked to by a signal", "run the same command again to continue")


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
