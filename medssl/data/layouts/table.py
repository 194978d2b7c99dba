"""A CSV table: columns `case`, one per channel, and optionally patient, session, label, part.

Paths are relative to the data set's folder. An empty cell means that there is no such file.
"""

import csv
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from medssl.data.spec import Case, DataSpec
from medssl.errors import DataError


class Options(BaseModel):
    """Keys of this layout."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = "cases.csv"


def cases(spec: DataSpec, root: Path) -> list[Case]:
    """Cases in the order of the rows."""
    path = root / spec.layout.options(Options).file
    if not path.is_file():
        raise DataError(f"{path} does not exist", do="write the table or correct `layout.file`")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        rows = [{key: (cell or "").strip() for key, cell in row.items() if key} for row in reader]
    missing = [name for name in ("case", *spec.channels) if name not in columns]
    if missing:
        raise DataError(
            f"{path} lacks the column {' and '.join(missing)}",
            f"it has {', '.join(columns) or 'none'}",
            "separate columns by commas and name them case, patient, session, label, part and "
            "as the channels of the data spec",
        )
    return [_case(spec, root, path, number, row) for number, row in enumerate(rows, start=2)]


def _case(spec: DataSpec, root: Path, path: Path, number: int, row: dict[str, str]) -> Case:
    part = row.get("part") or None
    if not row["case"] or part not in (None, "train", "test"):
        raise DataError(
            f"row {number} of {path} is not a case",
            f"its part is '{part}'" if row["case"] else "it has no name",
            "fill in the column case; part is train, test or empty",
        )
    return Case(
        id=row["case"],
        patient=row.get("patient") or spec.patient_of(row["case"]),
        images={channel: root / row[channel] for channel in spec.channels if row[channel]},
        label=root / row["label"] if row.get("label") else None,
        session=row.get("session") or spec.session_of(row["case"]),
        part=part,
    )
