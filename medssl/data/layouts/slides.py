"""Whole slides in a folder, and a CSV table that says what they show.

Columns of the table: `slide` (file or its name without suffix), `label` (class name or index), and
optionally `patient`, `part` (train, test) and `annotation` (GeoJSON or CAMELYON XML). Paths are
relative to the data set's folder; an empty cell means that there is no such thing. A data spec may
call the columns otherwise. Slides without a row, or without a table, are unlabelled.
"""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medssl.data.classes import Fault, class_index, undeclared
from medssl.data.csv_table import read_rows
from medssl.data.files import matching
from medssl.data.layout import Layout
from medssl.data.spec import Case, DataSpec
from medssl.data.table_columns import Columns

SUFFIXES = (".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".vms", ".vmu", ".scn", ".bif", ".svslide")
NAMES = "slide, label, patient, part, annotation, or name them in the data spec (layout.columns)"


class SlideColumns(Columns):
    """What the columns are called; null: there is none.

    The last three may be missing from the table unless they are named here.
    """

    needed = frozenset({"slide", "label"})

    slide: str = Field(default="slide", description="column of the files, or names, of slides")
    label: str = Field(default="label", description="column of the classes")
    patient: str | None = Field(default="patient", description="column of the patients")
    part: str | None = Field(default="part", description="column of the words train and test")
    annotation: str | None = Field(
        default="annotation", description="column of the GeoJSON or CAMELYON XML of each slide"
    )


class Options(BaseModel):
    """Keys of this layout.

    Attributes:
        table: CSV, see above.
        labels: class of a slide by its name without suffix, for slides without a row: a handful
            needs no table.
        pattern: which files are slides; `**` stands for folders at any depth.
        classes: names, the negative class first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str | None = Field(
        default=None, description="CSV with the columns slide and label, in the data set's folder"
    )
    columns: SlideColumns = SlideColumns()
    labels: dict[str, str] = Field(
        default={},
        description="class of a slide by its name without suffix, for slides without a row: "
        "a handful needs no table",
    )
    pattern: str = Field(
        default="*", description="which files are slides; `**` stands for folders at any depth"
    )
    classes: tuple[str, ...] = Field(default=(), description="names, the negative class first")

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        if (self.table is not None or self.labels) and len(self.classes) < 2:
            raise ValueError("labels need the names of at least two `classes`")
        if not self.pattern or Path(self.pattern).is_absolute():
            raise ValueError("`pattern` is relative to the data set's folder")
        if odd := sorted(set(self.labels.values()) - set(self.classes)):
            raise ValueError(f"`labels` names the class '{odd[0]}', which `classes` does not")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("two of the classes have one name")
        return self


def listed(spec: DataSpec, root: Path) -> tuple[list[Case], list[Fault]]:
    """Cases in the order of the table, then slides without a row by name, and what is wrong.

    `extra["class"]` is the class index or None, `extra["annotation"]` a path or None; the slide's
    file is `images["slide"]`.

    Raises:
        DataError: the table is missing or lacks a column.
    """
    options = spec.layout.options(Options)
    paths = [path for path in matching(root, options.pattern) if is_slide(path)]
    by_path: dict[Path, Case] = {}
    faults = []
    if options.table is not None:
        table = root / options.table
        rows = read_rows(table, options.columns.required, "layout.table", NAMES)
        columns = options.columns.present(rows)
        for number, cells in enumerate(rows, start=2):
            row = {key: cells[name] for key, name in columns.items()}
            path = _file(root, row["slide"], paths)
            case = _case(spec, root, path, row, class_index(row["label"], options.classes))
            faults += _faults(table, number, row, case, options)
            if path in by_path:
                what = f"row {number} of {table} names the slide {row['slide']} again"
                faults.append(Fault(case.id, table, "duplicate", what, "keep one of the rows"))
            elif row["slide"]:
                by_path[path] = case
    apart = [path for path in paths if path not in by_path]
    named = {
        path: class_index(options.labels.get(path.stem, ""), options.classes) for path in apart
    }
    return [
        *by_path.values(),
        *(_case(spec, root, path, {}, named[path]) for path in apart),
    ], faults


def is_slide(path: Path) -> bool:
    """Whether the name is that of a whole-slide file; hidden files are none."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _file(root: Path, stated: str, paths: list[Path]) -> Path:
    """The slide a row means, by file or by name; where it is missing, where it should be."""
    if root / stated in paths:
        return root / stated
    named = [path for path in paths if stated in (path.name, path.stem)]
    return named[0] if named else root / stated


def _case(spec: DataSpec, root: Path, path: Path, row: dict[str, str], index: int | None) -> Case:
    name = path.stem if is_slide(path) else path.name
    part = row.get("part")
    annotation = row.get("annotation")
    return Case(
        id=name,
        patient=row.get("patient") or spec.patient_of(name),
        images={"slide": path},
        part=part if part in ("train", "test") else None,
        extra={"class": index, "annotation": root / annotation if annotation else None},
    )


def _faults(
    table: Path, number: int, row: dict[str, str], case: Case, options: Options
) -> list[Fault]:
    faults = []
    if not row["slide"]:
        what = f"row {number} of {table} names no slide"
        return [Fault("", table, "table", what, f"fill in the column {options.columns.slide}")]
    if row["label"] and case.extra["class"] is None:
        faults.append(undeclared(case.id, table, row["label"], options.classes))
    if row.get("part", "") not in ("", "train", "test"):
        what = f"row {number} of {table} has the part '{row['part']}'"
        faults.append(Fault(case.id, table, "table", what, "write train, test or nothing"))
    return faults


LAYOUT = Layout(
    Options,
    listed=listed,
    content="slides",
    noun="slides",
    truth="label",
    contents=None,
    inspector="medssl.data.slide.check:inspector_of_slides",
    contact_sheet="medssl.data.slide.contact_sheet:slide_contact_sheet",
)
