"""Failures and warnings of libraries without what they quote: it may be a patient's.

pydicom and highdicom put values of headers into the words of their errors and warnings.
"""

import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

_QUOTING = ("pydicom", "highdicom")
_LEFT_OUT = "(its words are left out: they may quote a DICOM header)"


def hush() -> None:
    """Silence the warnings of libraries that quote headers; files are checked by medssl itself."""
    for name in _QUOTING:
        warnings.filterwarnings("ignore", module=name)


def words_of(error: BaseException) -> str:
    """What an error says, unless it comes from a library that quotes headers."""
    frames = traceback.walk_tb(error.__traceback__)
    names = {frame.f_globals.get("__name__", "").partition(".")[0] for frame, _ in frames}
    return _LEFT_OUT if names & set(_QUOTING) else str(error)


def unexpected(error: BaseException) -> str:
    """What kind of failure it is and where, without its words: they may quote a header."""
    root = str(Path(__file__).parent)
    frames = [one for one in traceback.extract_tb(error.__traceback__) if root in one.filename]
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"unexpected {type(error).__name__}{where}"


def traceback_of(error: BaseException) -> str:
    """The traceback of an error and of those behind it, as Python shows it but for such words."""
    return "".join(_chain(error, set()))


def _chain(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in seen:
        yield from _chain(before, seen)
        yield "\nwhich led to\n\n"
    yield "Traceback (most recent call last):\n"
    yield from traceback.format_tb(error.__traceback__)
    yield f"{type(error).__name__}: {words_of(error)}\n"


def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """As `sys.excepthook`."""
    sys.stderr.write(traceback_of(error))
