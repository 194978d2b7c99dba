"""Radiographs in a CSV table of files, patients, grades, splits and sides.

Files are relative to the data set's folder. A row without a grade is unlabelled. Fixed label lists,
where the data set has some, are JSON: {seed: {images per grade: [files]}}.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medssl.data.classes import Fault, class_index, undeclared
from medssl.data.csv_table import Row, read_rows
from medssl.data.layout import Layout
from medssl.data.radiograph.image import side_of
from medssl.data.radiograph.read import stem
from medssl.data.spec import Case, DataSpec
from medssl.data.table_columns import Columns
from medssl.errors import DataError, UsageError

NAMES = "file, grade, patient, split, side, or name them in the data spec (layout.columns)"


class GradeColumns(Columns):
    """What the columns are called; null: there is none.

    The last four may be missing from the table unless they are named here.
    """

    needed = frozenset({"file", "grade"})

    file: str = Field(default="file", description="column of the image files")
    grade: str = Field(default="grade", description="column of the grades")
    case: str | None = Field(default="case", description="names the image; else its file does")
    patient: str | None = Field(default="patient", description="column of the patients")
    split: str | None = Field(default="split", description="column of the words that `parts` lists")
    side: str | None = Field(default="side", description="of the body: L, R, left, right")


class Parts(BaseModel):
    """Words of the split column; an empty cell is for training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: tuple[str, ...] = Field(default=("train",), description="words for training")
    validation: tuple[str, ...] = Field(
        default=("validation", "val"), description="words for validation"
    )
    test: tuple[str, ...] = Field(default=("test",), description="words for testing")

    def of(self, word: str) -> str | None:
        """The part a word means; None for an unknown one."""
        if not word:
            return "train"
        return next((part for part, words in self if word in words), None)


class Options(BaseModel):
    """Keys of this layout.

    Attributes:
        table: CSV, see above.
        classes: names of the grades, in order; a cell holds a name or an index.
        spacing: mm per pixel of every file; "header": each file's header must say it; null: the
            scale is not known, and no size in mm can be asked for.
        label_lists: JSON, see above.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str = Field(default="labels.csv", description="CSV, in the data set's folder")
    columns: GradeColumns = GradeColumns()
    parts: Parts = Parts()
    classes: tuple[str, ...] = Field(
        min_length=2, description="names of the grades, in order; a cell holds a name or an index"
    )
    spacing: float | Literal["header"] | None = Field(
        default=None,
        description="mm per pixel of every file; header: each file's header must say it; "
        "null: the scale is not known, and no size in mm can be asked for",
    )
    label_lists: str | None = Field(
        default=None, description="JSON with fixed label lists: {seed: {images per grade: [files]}}"
    )

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> Self:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("two of the classes have one name")
        if isinstance(self.spacing, float) and self.spacing <= 0:
            raise ValueError("the spacing is no positive number of mm")
        return self


def listed(spec: DataSpec, root: Path) -> tuple[list[Case], list[Fault]]:
    """Cases in the order of the table, as far as it can be understood, and what is wrong with it.

    `extra` holds "class", index of the grade or None; "side", L, R or None; "spacing", mm or None;
    and "file", as the table names it.

    Raises:
        DataError: the table is missing or lacks a column.
    """
    options = spec.layout.options(Options)
    table = root / options.table
    rows = read_rows(table, options.columns.required, "layout.table", NAMES)
    columns = options.columns.present(rows)
    found: list[Case] = []
    faults: list[Fault] = []
    files: set[str] = set()
    for number, row in enumerate(rows, start=2):
        cells = {key: row[name] for key, name in columns.items()}
        if not cells["file"]:
            what = f"row {number} of {table} names no file"
            faults.append(Fault("", table, "table", what, f"fill in the column {columns['file']}"))
        elif cells["file"] in files:
            what = f"row {number} of {table} names the file {cells['file']} again"
            name = _name(cells)
            faults.append(Fault(name, table, "duplicate", what, "keep one of the rows"))
        else:
            files.add(cells["file"])
            case = _case(spec, options, root, cells)
            found.append(case)
            faults += _faults(table, number, cells, case, options)
    return found, faults + _same_names(table, found)


def patients_known(cases: Sequence[Case]) -> bool:
    """Whether anything says which images are of one patient; else each counts as its own."""
    return any(case.patient != case.id for case in cases)


def label_list(spec: DataSpec, root: Path, seed: int, labels: int) -> list[str] | None:
    """The data set's own labelled files for a seed and a number per grade; None without lists.

    Raises:
        DataError: the lists are missing or damaged.
        UsageError: there is none for that seed and number; tells which there are.
    """
    options = spec.layout.options(Options)
    if options.label_lists is None:
        return None
    path = root / options.label_lists
    try:
        lists = {
            str(key): {str(number): list(map(str, files)) for number, files in of.items()}
            for key, of in json.loads(path.read_text(encoding="utf-8")).items()
        }
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError(
            f"{path} does not hold label lists",
            "it must be JSON: {seed: {images per grade: [files]}}",
            "correct it, or remove `label_lists` from the data spec",
        ) from error
    for what, key, known in (
        ("seed", str(seed), lists),
        ("split.labels", str(labels), lists.get(str(seed), {})),
    ):
        if key not in known:
            raise UsageError(
                f"the data set {spec.name} has no label list for {what}={key}",
                f"{path.name} has {', '.join(known)}",
                "choose one of these, or set split.lists=false to draw labels",
            )
    return lists[str(seed)][str(labels)]


def _name(cells: Row) -> str:
    return cells.get("case") or stem(Path(cells["file"]))


def _case(spec: DataSpec, options: Options, root: Path, cells: Row) -> Case:
    name = _name(cells)
    return Case(
        id=name,
        patient=cells.get("patient") or spec.patient_of(name),
        images={spec.channels[0]: root / cells["file"]},
        part=options.parts.of(cells.get("split", "")),
        extra={
            "class": class_index(cells["grade"], options.classes),
            "side": side_of(cells.get("side", "")),
            "spacing": options.spacing if isinstance(options.spacing, float) else None,
            "file": cells["file"],
        },
    )


def _faults(table: Path, number: int, cells: Row, case: Case, options: Options) -> list[Fault]:
    faults = []
    if cells["grade"] and case.extra["class"] is None:
        faults.append(undeclared(case.id, table, cells["grade"], options.classes))
    if case.part is None:
        known = ", ".join(word for _, words in options.parts for word in words)
        what = f"row {number} of {table} has the split '{cells['split']}'"
        do = f"write one of {known}, or state its meaning in the data spec (layout.parts)"
        faults.append(Fault(case.id, table, "table", what, do))
    if cells.get("side") and case.extra["side"] is None:
        what = f"row {number} of {table} has the side '{cells['side']}'"
        faults.append(Fault(case.id, table, "table", what, "write L, R or nothing"))
    return faults


def _same_names(table: Path, found: list[Case]) -> list[Fault]:
    """Images whose files differ in their folder alone."""
    twice = [name for name, count in Counter(case.id for case in found).items() if count > 1]
    do = "add a column `case` with a name of its own for every image"
    return [
        Fault(name, table, "duplicate", f"several images of {table} are called {name}", do)
        for name in twice
    ]


LAYOUT = Layout(
    Options,
    listed=listed,
    content="radiographs",
    noun="images",
    truth="label",
    contents=None,
    inspector="medssl.data.radiograph.check:inspector_of_radiographs",
    remarks="medssl.data.radiograph.check:unknown_patients",
    contact_sheet="medssl.data.radiograph.contact_sheet:radiograph_contact_sheet",
)
