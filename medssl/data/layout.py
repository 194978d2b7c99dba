"""What a layout is: how files become cases, and all that depends on what these cases are.

A layout is free of torch and other heavy packages. What needs them is named as "module:function"
and imported when it is called.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from medssl.data.classes import Fault
from medssl.data.spec import Case, DataSpec
from medssl.registry import load


@dataclass(frozen=True)
class Layout:
    """How the files of a data set become cases, and how such cases are checked and shown.

    What is not given is right for volumes.

    Attributes:
        options: the keys of the layout in a data spec; they stand beside `kind`.
        cases: of a data spec and the folder of the data set, every case in the data set's own
            order, also those that lack an image; DataError where the folder is not laid out so.
        listed: in its place, for data sets with a list that may be wrong in places: the cases as
            far as the list can be understood, and what is wrong with it.
        content: what the cases are, in the plural: "volumes" with or without masks, "radiographs"
            or "slides" with or without a class each, "bags" of features with a class each. Methods
            ask for what they can learn from; a family of another package may ask for a content of
            its own.
        noun: what people call the cases, in the plural.
        truth: what people call the label of one.
        contents: "module:function" that is given some cases and a function of progress, and
            returns what their files hold, as `medssl.data.found.contents.Contents`, for
            `medssl init`; None: lists and names say everything.
        makes_files: whether the layout makes the files itself on first use, in the cache.
        sessions: whether each case is a session of scans, some of which may be missing.
        inspector: "module:function" that is given the spec, all cases and the faults of the list,
            and returns a function from a case to a `medssl.data.case_checks.Finding`; None: a case
            has nothing that could be wrong by itself.
        remarks: "module:function" that is given the spec and all cases, and yields a
            `medssl.data.case_checks.Verdict` for what is wrong with the data set as a whole.
        contact_sheet: "module:function" that is given the spec, some cases and the path of a PNG,
            and writes it; None: the cases hold nothing to draw.
        bag_reader: "module:function" that is given the spec and some cases, and returns a
            `medssl.data.bags.bag.BagSource` for each; None: the cases are no bags of features.
    """

    options: type[BaseModel]
    cases: Callable[[DataSpec, Path], list[Case]] | None = None
    listed: Callable[[DataSpec, Path], tuple[list[Case], list[Fault]]] | None = None
    content: str = "volumes"
    noun: str = "scans"
    truth: str = "mask"
    contents: str | None = "medssl.data.found.contents:read_contents"
    makes_files: bool = False
    sessions: bool = False
    inspector: str | None = "medssl.data.check:inspector_of_volumes"
    remarks: str | None = None
    contact_sheet: str | None = "medssl.data.show:volume_contact_sheet"
    bag_reader: str | None = None

    def find(self, spec: DataSpec, root: Path) -> tuple[list[Case], list[Fault]]:
        """The cases in the folder of a data set, and what is wrong with their list.

        Raises:
            DataError: the folder is not laid out so.
        """
        if self.listed is not None:
            return self.listed(spec, root)
        return ([] if self.cases is None else self.cases(spec, root)), []

    def bags(self, spec: DataSpec, cases: Sequence[Case]) -> list[Any] | None:
        """A `medssl.data.bags.bag.BagSource` per case, in order; None where cases are no bags.

        Raises:
            DataError: a file cannot be used.
        """
        if self.bag_reader is None:
            return None
        return list(load(self.bag_reader)(spec, cases))
