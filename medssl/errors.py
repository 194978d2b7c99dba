"""Failures as one clear sentence: what is wrong, why, and what to do about it.

Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 data rejected, 75 stopped on request (resume me).
"""

from typing import ClassVar


class MedsslError(Exception):
    """A failure the user can act on; the command line prints it without a traceback.

    Args:
        what: the fact, naming the file, case or key concerned.
        why: the cause, as far as it is known; may be empty.
        do: the next step for the user; may be empty.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, why: str = "", do: str = "") -> None:
        self.what, self.why, self.do = what, why, do
        super().__init__(_sentence(what, why, do))


class UsageError(MedsslError):
    """The command, a key or a value is wrong."""

    exit_code: ClassVar[int] = 2


class DataError(MedsslError):
    """A file or a data set cannot be used as it is."""

    exit_code: ClassVar[int] = 3


class Stopped(BaseException):
    """The work was asked to stop and has kept what it did; the same command continues it.

    It is no failure, so nothing that passes over failures may pass over it.
    """

    exit_code: ClassVar[int] = 75

    def __init__(self, what: str, why: str = "", do: str = "") -> None:
        super().__init__(_sentence(what, why, do))


def _sentence(*parts: str) -> str:
    """One line; what a terminal would obey, or cannot print, as Python writes it."""
    text = "; ".join(part for part in parts if part)
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
