"""Failures and warnings of libraries without what they quote: it may be a patient's.

pydicom and highdicom put values of headers into the words of their errors and warnings. Folders and
files are often called after patients: a terminal says back what was typed, but no file keeps it.
"""

import re
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

from medssl.errors import DataError, MedsslError, Stopped

_QUOTING = ("pydicom", "highdicom")
_LEFT_OUT = "(its words are left out: they may quote a DICOM header)"
_ADDRESS = re.compile(r"\(?https?://\S+")
_LONGEST = 500
_SHORTEST = 3
"""Letters of a name below which it is a number or a word of a sentence as well."""


def hush() -> None:
    """Silence the warnings of libraries that quote headers; files are checked by medssl itself."""
    for name in _QUOTING:
        warnings.filterwarnings("ignore", module=name)


def words_of(error: BaseException) -> str:
    """What an error says, unless it comes from a library that quotes headers."""
    frames = traceback.walk_tb(error.__traceback__)
    names = {frame.f_globals.get("__name__", "").partition(".")[0] for frame, _ in frames}
    return _LEFT_OUT if names & set(_QUOTING) else str(error)


def failure_of(error: BaseException) -> BaseException:
    """A failure as one that has a sentence and an exit code: what the system refuses gets both."""
    if not isinstance(error, OSError):
        return error
    return DataError(
        f"{error.filename or 'a file'} cannot be used",
        (error.strerror or str(error)).lower(),
        "check the path and its permissions",
    )


def exit_code_of(error: BaseException) -> int:
    """The code that a command ends with which fails so."""
    found = failure_of(error)
    return found.exit_code if isinstance(found, MedsslError | Stopped) else 1


def sentence_of(error: BaseException) -> str:
    """What a terminal says of a failure."""
    found = failure_of(error)
    if isinstance(found, MedsslError | Stopped):
        return str(found)
    return f"unexpected {type(error).__name__}: {words_of(error)}"


def kept_sentence_of(error: BaseException) -> str:
    """What may be written down of a failure: without any part that names a folder or a file."""
    found = failure_of(error)
    if isinstance(found, MedsslError):
        what = "a file cannot be used" if found is not error else found.what
        plain = [part for part in (what, found.why, found.do) if part and not _names_a_file(part)]
        text = "; ".join(plain) or "a file cannot be used; the terminal names it"
    else:
        text = sentence_of(error)
        if _names_a_file(text):
            text = f"unexpected {type(error).__name__} (its words are left out: they name a file)"
    line = " ".join(_ADDRESS.sub("", text).split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _names_a_file(text: str) -> bool:
    return bool({"/", "\\"} & set(_ADDRESS.sub("", text)))


def without_files(text: str, files: Iterable[Path]) -> str:
    """A sentence on files without their names, and those of the folders that they lie in."""
    given = list(files)
    folders = {str(one) for file in given for one in (file.parent, file.parent.resolve())}
    for folder in sorted(folders - {"."}, key=len, reverse=True):
        text = text.replace(f"{folder}/", "").replace(folder, "its folder")
    for name in sorted({file.name for file in given}, key=len, reverse=True):
        if len(name) >= _SHORTEST and name in text:
            text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-]|\.\w)", "a file", text)
    return text


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
