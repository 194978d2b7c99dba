"""Classes of whole cases (slides, bags, radiographs) as tables state them, and faults of rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medssl.data.spec import DataSpec
from medssl.errors import DataError


@dataclass(frozen=True)
class Fault:
    """Something wrong with a table, found while its cases are listed.

    Attributes:
        case: id of the case concerned; empty where a row names none.
        file: the table, or what else is wrong.
        what: the fact, naming the file.
        do: the remedy.
    """

    case: str
    file: Path
    rule: Literal["label", "duplicate", "table", "empty bag", "non-finite", "name", "series"]
    what: str
    do: str


def declared_classes(spec: DataSpec) -> tuple[str, ...]:
    """`layout.classes` of a data set: the negative class first, or grades as they rise."""
    return tuple((spec.layout.model_extra or {}).get("classes", ()))


def class_index(stated: str, classes: tuple[str, ...]) -> int | None:
    """Index of the class that a table states by name or by index; None if not among `classes`."""
    if stated in classes:
        return classes.index(stated)
    if stated.isdecimal() and len(stated) < 10 and int(stated) < len(classes):
        return int(stated)
    return None


def undeclared(case: str, file: Path, stated: str, classes: tuple[str, ...]) -> Fault:
    """The fault of a case whose class the layout does not declare."""
    declared = ", ".join(classes) or "none"
    return Fault(
        case,
        file,
        "label",
        f"{file} gives {case} the class '{stated}', where the layout declares {declared}",
        "correct the table, or `layout.classes` in the data spec",
    )


def refuse(faults: list[Fault]) -> None:
    """Refuse a table with faults.

    Raises:
        DataError: `faults` is not empty; the message is the first and how many more there are.
    """
    if faults:
        more = f"{len(faults) - 1} more such faults" if len(faults) > 1 else ""
        raise DataError(faults[0].what, more, faults[0].do)
