"""A list of what is to be predicted, for more studies than one command line, or one machine, takes.

It is a text file with one path a line, or a CSV with a column `path` and, if need be, one `name` of
the results. Paths are relative to the folder of the list.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from medssl.atomic import write_text
from medssl.data.csv_table import read_rows, table_text
from medssl.discreet import without_files
from medssl.environment import listed_path
from medssl.errors import DataError, UsageError
from medssl.keyed import own_key
from medssl.names import unfit

FAILED = "failed.csv"
"""Beside the results: the lines that have none, and why."""


@dataclass(frozen=True)
class Line:
    """One entry of a list.

    Attributes:
        number: of its line in the file, from 1.
        path: a file, or a folder of files, as on the command line.
        name: what its results are called; empty: as they are on the command line.
    """

    number: int
    path: Path
    name: str = ""

    @cached_property
    def key(self) -> str:
        """What stands for it in records: a path may name a patient."""
        return own_key().name_of("line", f"{self.path}\n{self.name}", 16)

    def without_place(self, text: str) -> str:
        """A sentence on it without path and file names, which may name a patient."""
        if self.path.is_dir():
            text = without_files(text, [file for file in self.path.rglob("*") if file.is_file()])
        places = {str(self.path), str(self.path.resolve())}
        for place in sorted(places, key=len, reverse=True):
            text = text.replace(f"{place}/", "").replace(place, f"line {self.number}")
        for folder in sorted({str(Path(place).parent) for place in places}, key=len, reverse=True):
            text = text.replace(f"{folder}/", "").replace(folder, "its folder")
        return text.replace(self.path.name, f"line {self.number}")


@dataclass(frozen=True)
class Shard:
    """One of several parts of a list: every so many lines.

    Attributes:
        rank: which, from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def of(cls, text: str) -> "Shard":
        """The shard that is called "i/n", i from 1 to n.

        Raises:
            UsageError: it is none.
        """
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise UsageError(
                f"--shard {text} is no part of a list",
                "",
                "say which of how many, e.g. --shard 3/64",
            )
        return cls(int(found[1]) - 1, int(found[2]))

    def own(self, lines: Sequence[Line]) -> Sequence[Line]:
        """Its lines."""
        return lines[self.rank :: self.size]


ALL = Shard()


def read_list(path: Path) -> list[Line]:
    """All lines of a list, in order; those that are empty, or there before, are passed over.

    Raises:
        DataError: it cannot be read, holds no path, or a name that results cannot have.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist", do="name the list of what is to be predicted")
    if path.suffix.lower() == ".csv":
        rows = read_rows(path, ["path"], "--manifest", "path, and name where need be")
        given = [(n, row["path"], row.get("name", "")) for n, row in enumerate(rows, start=2)]
    else:
        try:
            texts = path.read_bytes().decode("utf-8-sig").splitlines()
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is no text in UTF-8", do="save it as one") from error
        given = [(number, text.strip(), "") for number, text in enumerate(texts, start=1)]
    found: dict[tuple[Path, str], Line] = {}
    for line in [_line(path, *one) for one in given if one[1]]:
        found.setdefault((line.path, line.name), line)
    if not found:
        raise DataError(f"{path} names no path", do="write one a line, or a CSV with a column path")
    return list(found.values())


def _line(listed: Path, number: int, text: str, name: str) -> Line:
    if name and (reason := unfit(name)):
        raise DataError(
            f"results cannot be named as line {number} of {listed} says", reason, "change the name"
        )
    return Line(number, listed.parent / listed_path(text), name)


def write_failed(path: Path, lines: Iterable[Line], failed: Mapping[str, Any]) -> None:
    """Write the lines that have no results with a sentence each; no file where all have some.

    Args:
        failed: of a line's key, the sentence.
    """
    rows = [(line.number, failed[line.key]) for line in lines if line.key in failed]
    if rows:
        write_text(path, table_text(["line", "why"], rows))
    else:
        path.unlink(missing_ok=True)
