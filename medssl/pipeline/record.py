"""The record of a folder of results: prediction.json, and journals beside it while work goes on.

Every process at work appends lines to a journal of its own, which it holds locked, so that one line
is written for a case, however many there are, and no process waits for another. Whoever ends folds
the journals of all that have ended into prediction.json; whoever reads takes both together. So a
kill loses nothing: its journal is folded in by the next that begins.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from medssl.atomic import append_text, told, write_text

RECORD = "prediction.json"

PARTS = ("sources", "written", "measured", "series", "lines", "failed")
"""Parts of a record that journals add to, each by name; a null takes a name out."""

_JOURNALS = "prediction-*.jsonl"


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of a folder; empty where it cannot be understood, None where there is none."""
    try:
        plain: dict[str, Any] = json.loads((folder / RECORD).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return {}
    fits = isinstance(plain, dict) and all(isinstance(plain.get(key, {}), dict) for key in PARTS)
    if not fits:
        return {}
    for journal in sorted(folder.glob(_JOURNALS)):
        for line in _lines(journal):
            _add(plain, line)
    return plain


def _lines(journal: Path) -> Iterator[dict[str, Any]]:
    """The entries of a journal; a line that a kill cut off is none."""
    with suppress(FileNotFoundError):  # folded in meanwhile
        for text in journal.read_bytes().splitlines():
            with suppress(ValueError, RecursionError):
                plain = json.loads(text)
                if isinstance(plain, dict) and all(isinstance(one, dict) for one in plain.values()):
                    yield plain


def _add(plain: dict[str, Any], entry: Mapping[str, Mapping[str, Any]]) -> None:
    for part in PARTS:
        for name, value in entry.get(part, {}).items():
            kept = plain.setdefault(part, {})
            if value is None:
                kept.pop(name, None)
            else:
                kept[name] = value


class Record:
    """The record of a folder, for one process that adds to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._journal: Path | None = None
        self._held = ExitStack()

    def begin(self, plain: Mapping[str, Any]) -> None:
        """Write the record as it is now; to be called while `locked`.

        It holds what journals say, which go where nobody writes to them any more.

        Raises:
            MedsslError: the folder cannot be written to.
        """
        write_text(self._folder / RECORD, _text(plain))
        for journal in self._ended():
            journal.unlink(missing_ok=True)

    def add(self, **parts: Mapping[str, Any]) -> None:
        """Append to the parts of the record; it is on the disk when this returns.

        Raises:
            MedsslError: the disk is full.
        """
        if self._journal is None:
            self._journal = self._own()
        append_text(self._journal, json.dumps(parts) + "\n")

    def end(self, alone: bool = False) -> None:
        """Fold the journals of those that have ended into the record.

        Args:
            alone: nobody else is at work in the folder.
        """
        own, self._journal = self._journal, None
        self._held.close()
        journals = sorted(self._folder.glob(_JOURNALS))
        if not journals:
            return
        with locked(self._folder) as knows_locks:
            if not alone:
                # Without locks another process may be about to write the record as well.
                if not knows_locks and journals != [own]:
                    return
                journals = sorted({*self._ended(), *([own] if own else [])})
            plain = read_record(self._folder)
            if plain:
                write_text(self._folder / RECORD, _text(plain))
                for journal in journals:
                    journal.unlink(missing_ok=True)

    def _own(self) -> Path:
        """A new journal, which is locked until `end`."""
        while True:
            path = self._folder / _JOURNALS.replace("*", secrets.token_hex(8))
            with told(path):
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            with suppress(OSError):  # some network disks know no locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:  # else it was folded in before it was locked
                self._held.callback(os.close, descriptor)
                return path
            os.close(descriptor)

    def _ended(self) -> Sequence[Path]:
        """Journals that no process holds."""
        return [path for path in sorted(self._folder.glob(_JOURNALS)) if _is_free(path)]


def _text(plain: Mapping[str, Any]) -> str:
    """As JSON, in an order that does not hang on who was done first."""
    parts = {
        name: dict(sorted(plain[name].items()))
        for name in PARTS
        if isinstance(plain.get(name), dict)
    }
    return json.dumps({**plain, **parts}, indent=2)


def _is_free(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """One process at a time, so that none forgets what another wrote; whether locks are known."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:  # some network disks know no locks
            yield False
            return
        yield True
    finally:
        os.close(descriptor)
