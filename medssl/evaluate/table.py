"""scores.csv: one row per case and class."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from medssl.atomic import write_text
from medssl.data.csv_table import table_text
from medssl.evaluate.summary import CaseScores


def write_scores(path: Path, cases: Sequence[CaseScores]) -> None:
    """Write every score, atomically.

    The columns are `case`, `class`, and the other attributes of `ClassScore` by name (distances in
    mm unless the name says voxels, volumes in ml), then the metrics of other packages; those that
    were not measured are left out.
    Numbers have all their digits, so reading them back changes nothing.
    """
    rows = []
    for case in cases:
        for score in case.classes:
            plain = asdict(score)
            del plain["further"]
            rows.append({"case": case.case, "class": plain.pop("name"), **plain, **score.further})
    measured = [key for key in rows[0] if rows[0][key] is not None] if rows else ["case", "class"]
    write_text(path, table_text(measured, [[row[key] for key in measured] for row in rows]))
