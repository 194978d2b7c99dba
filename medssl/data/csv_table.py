"""CSV tables: those that users give, and those that medssl writes.

Spreadsheets run text that begins like a formula. Such cells are written with an apostrophe before
them, which `read_table` takes away again; numbers stay as they are.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from medssl.errors import DataError

Row = dict[str, str]

_FORMULA = re.compile(r"'*\s*[=+\-@\t\n]")
_QUOTED_FORMULA = re.compile(r"'+\s*[=+\-@\t\n]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)")


def read_rows(path: Path, required: Collection[str], key: str, names: str) -> list[Row]:
    """Every row of a user's table by column; names and cells without surrounding space.

    Args:
        path: CSV in UTF-8, whose cells commas, semicolons or tabs separate.
        required: columns that must be there.
        key: of the data spec that names the table, e.g. "layout.table".
        names: what the columns should be called, for the message.

    Raises:
        DataError: the table is missing, no CSV, lacks a column or has one twice, or a row has more
            cells than there are columns.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist", do=f"write the table or correct `{key}`")
    columns, *rows = read_cells(path, other=";\t") or [[]]
    columns = [name.strip() for name in columns]
    missing = [name for name in required if name not in columns]
    if missing:
        raise DataError(
            f"{path} lacks the column {' and '.join(missing)}",
            f"it has {', '.join(filter(None, columns)) or 'none'}",
            f"name the columns {names}",
        )
    if twice := [name for name, count in Counter(filter(None, columns)).items() if count > 1]:
        raise DataError(
            f"{path} has two columns {twice[0]}",
            "which of them counts is not said",
            "remove or rename one of them",
        )
    for number, row in enumerate(rows, start=2):
        if any(cell.strip() for cell in row[len(columns) :]):
            raise DataError(
                f"row {number} of {path} has {len(row)} cells, where there are {len(columns)} "
                "columns",
                "a cell that holds what separates cells must stand in quotes",
                "correct the row",
            )
    empty = [""] * len(columns)
    return [
        {name: cell.strip() for name, cell in zip(columns, row + empty, strict=False) if name}
        for row in rows
    ]


def read_cells(path: Path, other: str = "") -> list[list[str]]:
    """The cells of a CSV file in UTF-8; empty lines are left out.

    Args:
        other: signs that may separate cells where the first line has no comma.

    Raises:
        DataError: it cannot be read as one.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        if "\0" in text:
            raise ValueError("it holds zero bytes")
        first = text.lstrip("\r\n").partition("\n")[0].partition("\r")[0]
        sign = "," if "," in first else next((one for one in other if one in first), ",")
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=sign, strict=True)
        return [row for row in lines if row]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} is no CSV table in UTF-8", str(error), "save it as one") from error


def table_text(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A CSV table as text; None is an empty cell, and floats have all their digits.

    A carriage return becomes a space, as it would end the row.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_safe(cell) for cell in row] for row in (head, *rows))
    return text.getvalue()


def read_table(path: Path) -> list[Row]:
    """Every row of a table that `table_text` made, by column.

    Raises:
        DataError: it is missing or damaged.
    """
    head, *rows = [[_plain(cell) for cell in row] for row in read_cells(path)] or [[]]
    if any(len(row) != len(head) for row in rows):
        raise DataError(f"{path} is damaged", "its rows differ in length", "make it again")
    return [dict(zip(head, row, strict=True)) for row in rows]


def _safe(cell: object) -> object:
    """The cell, with an apostrophe where a spreadsheet would run it or take ours away."""
    if not isinstance(cell, str):
        return cell
    text = cell.replace("\r", " ")
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _plain(cell: str) -> str:
    return cell[1:] if _QUOTED_FORMULA.match(cell) else cell
