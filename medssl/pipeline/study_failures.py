"""Why pieces of a study have not finished, which each leaves in the study's folder."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medssl.atomic import write_text
from medssl.errors import MedsslError, Stopped

FAILURES = "failures"
"""Folder of a study's folder: what failed and why, a file for each piece."""


@dataclass(frozen=True)
class Failure:
    """Why a piece did not finish.

    Attributes:
        task: which, in words.
        reason: one sentence that names no file.
        exit_code: what its command ended with; `UNENDED` where it has not said.
    """

    task: str
    reason: str
    exit_code: int

    @property
    def told(self) -> bool:
        """Whether the piece itself said why."""
        return self.exit_code != UNENDED

    @property
    def stopped(self) -> bool:
        """Whether it was asked to stop, and goes on where it was."""
        return self.exit_code == Stopped.exit_code


UNENDED = -1
"""What stands for an exit code while a piece has begun and not ended."""


class Record:
    """The failure of a piece, kept in the study's folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / FAILURES / f"{name}.json"

    def clear(self) -> None:
        """Forget it: the piece is tried again."""
        with suppress(FileNotFoundError):
            self._path.unlink()

    def write(self, failure: Failure) -> None:
        """Keep it; on a full disk the piece's own failure is worth more."""
        with suppress(OSError, MedsslError):
            write_text(self._path, json.dumps(vars(failure), indent=1))

    def read(self) -> Failure | None:
        """What was kept; None where nothing was, or nothing that can be read."""
        try:
            plain: Mapping[str, Any] = json.loads(self._path.read_bytes())
            return Failure(str(plain["task"]), str(plain["reason"]), int(plain["exit_code"]))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
