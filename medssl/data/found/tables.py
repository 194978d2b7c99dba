"""Tables that give images a grade, slides a class, or cases their files."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medssl.data.csv_table import Row, read_rows
from medssl.data.files import PICTURES, is_image, visible
from medssl.data.layouts.slides import is_slide
from medssl.errors import DataError
from medssl.names import shown, some_of

_GRADE = ["grade", "label", "class", "kl", "kl_grade", "score", "diagnosis", "dx", "category"]
_PATIENT = ["patient", "patient_id", "patientid", "subject", "subject_id", "pid"]
_SPLIT = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
_OTHERS = ["split", "part", "set", "side", "sex", "age", "annotation", "scanner", "stain", "site"]
_MOST_CLASSES = 20


def read_table(folder: Path) -> dict[str, Any] | None:
    """Keys of a data spec for the table in a folder that names its images; None without one.

    They are `layout`, `channels`, `modality`, `root` where it is another folder than this one, and
    `rule`, in words, where columns were found by what they hold.

    Raises:
        DataError: there is such a table, but it cannot be used as it is.
    """
    for table in visible(folder):
        if table.suffix.lower() != ".csv":
            continue
        try:
            rows = read_rows(table, (), "layout.table", "file, grade")
        except DataError:
            continue
        found = _read(folder, table, rows) if rows else None
        if found is not None:
            return found
    return None


def _read(folder: Path, table: Path, rows: Sequence[Row]) -> dict[str, Any] | None:
    columns = [name for name in rows[0] if name]
    places = [folder, *(path for path in visible(folder) if path.is_dir())]
    for column in columns:
        cells = [row[column] for row in rows if row[column]]
        for root in places:
            there = [cell for cell in cells if (root / cell).is_file()]
            if 2 * len(there) <= len(cells) or not there:
                continue
            if is_image(Path(there[0])):
                return _of_volumes(table, columns, rows, folder)
            if is_slide(Path(there[0])) and not _is_of_pictures(columns, column, there[0]):
                return _of_slides(folder, table, column, columns, rows)
            return _of_pictures(root, table, column, columns, rows)
    named = _naming_slides(places, columns, rows)
    return _of_slides(folder, table, named, columns, rows) if named else None


def _naming_slides(
    places: Sequence[Path], columns: Sequence[str], rows: Sequence[Row]
) -> str | None:
    """The column that is called `slide`, or holds names of slides, with their suffix or without."""
    slides = [path for place in places for path in visible(place) if is_slide(path)]
    names = {path.stem for path in slides} | {path.name for path in slides}
    for column in columns:
        cells = [row[column] for row in rows if row[column]]
        if column.lower() == "slide" or 2 * sum(cell in names for cell in cells) > len(cells):
            return column
    return None


def _is_of_pictures(columns: Sequence[str], column: str, file: str) -> bool:
    """Whether what may be a slide, a TIFF, is a picture by how the table calls it."""
    called = column.lower() in ("file", "image") and "slide" not in map(str.lower, columns)
    return called and Path(file).suffix.lower() in PICTURES


def _of_volumes(
    table: Path, columns: Sequence[str], rows: Sequence[Row], root: Path
) -> dict[str, Any]:
    """A table of the layout `table`."""
    holding = [
        name for name in columns if any(row[name] and (root / row[name]).exists() for row in rows)
    ]
    channels = [name for name in holding if name != "label"]
    if "case" not in columns or not channels:
        raise DataError(
            f"{table} lists volumes, but has no column `case`",
            f"its columns are {', '.join(columns)}",
            "name them case, one per channel, and label for the masks; grades of volumes are not "
            "learnt",
        )
    layout = {"kind": "table", "file": table.name}
    return {"layout": layout, "channels": channels, "modality": None}


def _classes(table: Path, column: str, rows: Sequence[Row], what: str) -> list[str]:
    found = Counter(row[column] for row in rows if row[column])
    if not 2 <= len(found) <= _MOST_CLASSES:
        raise DataError(
            f"the column {column} of {table} has {len(found)} different values",
            f"{what}s are 2 to {_MOST_CLASSES} classes: {some_of([shown(one) for one in found])}",
            f"name the column of the {what}s `{what}`, or group its values",
        )
    numeric = all(one.lstrip("-").replace(".", "", 1).isdigit() for one in found)
    return sorted(found, key=float) if numeric else sorted(found)


def _class_column(
    table: Path, columns: Sequence[str], apart: str, rows: Sequence[Row], what: str
) -> str:
    """The column with the classes: one that is called so, else the one with a few values."""
    lower = {name.lower(): name for name in columns if name != apart}
    named = [lower[word] for word in (what, *_GRADE) if word in lower]
    few = [
        name
        for name in lower.values()
        if name.lower() not in (*_PATIENT, *_OTHERS)
        and 2 <= len({row[name] for row in rows if row[name]}) <= _MOST_CLASSES
    ]
    if not named and len(few) != 1:
        raise DataError(
            f"{table} does not tell which column holds the {what}s",
            f"its columns are {', '.join(columns)}",
            f"name it `{what}`",
        )
    return named[0] if named else few[0]


def _of_pictures(
    root: Path, table: Path, column: str, columns: Sequence[str], rows: Sequence[Row]
) -> dict[str, Any]:
    grade = _class_column(table, columns, column, rows, "grade")
    named: dict[str, str | None] = {"file": column, "grade": grade}
    lower = {name.lower(): name for name in columns}
    for key, words in (("patient", _PATIENT), ("side", ["side"])):
        for word in words:
            if word in lower and named.get(key) is None:
                named[key] = lower[word]
    split = next((lower[word] for word in ("split", "part", "set") if word in lower), None)
    known = split is not None and {row[split] for row in rows if row[split]} <= set(_SPLIT)
    named["split"] = split if known else None
    file = os.path.relpath(table.absolute(), root.absolute())
    classes = _classes(table, grade, rows, "grade")
    names = [f"grade {one}" if one.isdigit() else one for one in classes]
    given = names if not all(one.isdigit() for one in classes) else classes
    layout = {"kind": "radiographs", "table": file, "columns": named, "classes": given}
    rule = _rule(table, column, grade)
    return {"layout": layout, "channels": ["image"], "modality": "CR", "root": root, "rule": rule}


def _rule(table: Path, of: str, classes: str) -> str:
    return f"the column '{classes}' of {table.name} says what the one in '{of}' shows"


def _of_slides(
    folder: Path, table: Path, column: str, columns: Sequence[str], rows: Sequence[Row]
) -> dict[str, Any]:
    label = _class_column(table, columns, column, rows, "label")
    lower = {name.lower(): name for name in columns}
    named: dict[str, str] = {"slide": column, "label": label}
    for word in filter(lower.__contains__, reversed(_PATIENT)):
        named["patient"] = lower[word]
    if "annotation" in lower:
        named["annotation"] = lower["annotation"]
    for word in ("set", "split", "part"):
        if word in lower and {row[lower[word]] for row in rows} <= {"train", "test", ""}:
            named["part"] = lower[word]
    deep = not any(is_slide(path) for path in visible(folder))
    layout: dict[str, Any] = {
        "kind": "slides",
        "table": table.name,
        "columns": {key: name for key, name in named.items() if key != name},
        "classes": _classes(table, label, rows, "label"),
    }
    if not layout["columns"]:
        del layout["columns"]
    if deep:
        layout["pattern"] = "**/*"
    rule = _rule(table, column, label)
    return {"layout": layout, "channels": ["rgb"], "modality": "SM", "rule": rule}
