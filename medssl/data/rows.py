"""Rows of a CSV table, cells without surrounding space."""

import csv
from collections.abc import Collection
from pathlib import Path

from medssl.errors import DataError

Row = dict[str, str]


def read_rows(path: Path, required: Collection[str], key: str, names: str) -> list[Row]:
    """Every row by column.

    Args:
        path: CSV in UTF-8.
        required: columns that must be there.
        key: of the data spec that names the table, e.g. "layout.table".
        names: what the columns should be called, for the message.

    Raises:
        DataError: the table is missing, no CSV, or lacks a column.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist", do=f"write the table or correct `{key}`")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            rows = [{k: (cell or "").strip() for k, cell in row.items() if k} for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV table in UTF-8", str(error), "save it as one") from error
    missing = [name for name in required if name not in columns]
    if missing:
        raise DataError(
            f"{path} lacks the column {' and '.join(missing)}",
            f"it has {', '.join(columns) or 'none'}",
            f"separate columns by commas and name them {names}",
        )
    return rows
