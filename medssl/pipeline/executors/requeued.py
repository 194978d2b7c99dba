"""A command in a job of a queue, which goes on in the queue where it was asked to stop."""

import signal
import subprocess
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any


class Requeued:
    """Carries out a command as a job of submitit.

    SIGUSR1 says that the job's time is over or that others need its place: the command keeps what
    it has, and the job is queued again. SIGTERM, which a queue sends before it ends a job for good
    or queues it again by itself, only lets the command keep what it has.

    Args:
        command: the words; it keeps what it has and ends when it gets a SIGTERM.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.command = list(command)

    def __call__(self) -> None:
        """Carry it out.

        Raises:
            SystemExit: the command did not end well; with its code.
        """
        asked: list[int] = []
        process: subprocess.Popen[bytes] | None = None

        def pass_on(number: int, frame: FrameType | None) -> None:
            asked.append(number)
            if process is not None:
                process.send_signal(signal.SIGTERM)

        before = {number: signal.signal(number, pass_on) for number in _HEARD}
        try:
            process = subprocess.Popen(self.command)  # noqa: S603 - our own command
            if asked:  # while it began
                process.send_signal(signal.SIGTERM)
            code = process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler or signal.SIG_DFL)
        if code and signal.SIGUSR1 in asked:
            # torchrun says no more than that its processes ended, so any code counts.
            _ask(before[signal.SIGUSR1])
        if code:
            raise SystemExit(code)

    def checkpoint(self) -> Any:
        """What the job does when it is carried out again: the same."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


_HEARD = (signal.SIGUSR1, signal.SIGTERM)


def _ask(handler: Callable[[int, FrameType | None], Any] | int | None) -> None:
    """Have submitit queue the job again, which it does where it hears the signal."""
    if callable(handler):
        handler(signal.SIGUSR1, None)
