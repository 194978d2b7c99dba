"""scores.csv: one row per case and class."""

import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from medssl.atomic import appearing
from medssl.evaluate.summary import CaseScores


def write_scores(path: Path, cases: Sequence[CaseScores]) -> None:
    """Write every score, atomically.

    The columns are `case`, `class`, and the other attributes of `ClassScore` by name (distances in
    mm unless the name says voxels, volumes in ml); those that were not measured are left out.
    Numbers have all their digits, so reading them back changes nothing.
    """
    rows = []
    for case in cases:
        for score in case.classes:
            plain = asdict(score)
            rows.append({"case": case.case, "class": plain.pop("name"), **plain})
    measured = [key for key in rows[0] if rows[0][key] is not None] if rows else ["case", "class"]
    with appearing(path) as beside, beside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, measured, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
