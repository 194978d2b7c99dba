"""A CSV table: columns `case`, one per channel, and optionally patient, session, label, part.

Paths are relative to the data set's folder. An empty cell means that there is no such file.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from medssl.data.csv_table import read_rows
from medssl.data.layout import Layout
from medssl.data.spec import Case, DataSpec
from medssl.errors import DataError

COLUMNS = "case, patient, session, label, part and as the channels of the data spec"


class Options(BaseModel):
    """Keys of this layout."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(
        default="cases.csv",
        description="CSV with the columns case, one per channel, and if need be patient, "
        "label and part",
    )


def cases(spec: DataSpec, root: Path) -> list[Case]:
    """Cases in the order of the rows."""
    path = root / spec.layout.options(Options).file
    rows = read_rows(path, ("case", *spec.channels), "layout.file", COLUMNS)
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


LAYOUT = Layout(Options, cases)
