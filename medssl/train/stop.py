"""A wish to stop, heard between two steps."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""The system's, the user's (Ctrl-C) and SLURM's."""


class Stop:
    """Whether a signal has asked for a stop."""

    requested = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Take note; whoever presses Ctrl-C a second time does not want to wait for the step."""
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Signals are taken note of inside the block, and mean what they meant before after it.

    Outside the main thread signals belong to the caller, and the wish never comes.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
