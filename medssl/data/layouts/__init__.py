"""How files in a folder become cases: one module per kind, and what is asked of every kind.

A module `table` here with a `LAYOUT` is what makes `layout: {kind: table}` work; a package of
others offers its own by the entry-point group `medssl.layouts`.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from medssl.data.classes import Fault, refuse
from medssl.data.layout import Layout
from medssl.data.spec import Case, DataSpec
from medssl.environment import cache_root, data_root
from medssl.errors import DataError, UsageError
from medssl.names import has_control, is_no_path, shown, unfit
from medssl.registry import LAYOUTS


def layout_of(spec: DataSpec) -> Layout:
    """The layout that a data spec names; imports no torch.

    Raises:
        UsageError: there is none of that name (names the nearest), or that of another package
            cannot be used.
    """
    return LAYOUTS.find(spec.layout.kind, Layout, f"the data spec {spec.name}")


def holds_sessions(spec: DataSpec) -> bool:
    """Whether cases may lack scans or have them on several grids.

    Raises:
        UsageError: as `layout_of`.
    """
    return spec.layout.sessions or layout_of(spec).sessions


def data_folder(spec: DataSpec) -> Path:
    """Where the files of a data set are, or belong.

    Raises:
        UsageError: the layout is unknown, or the root starts with the home folder of somebody who
            is not known here.
    """
    base = cache_root() if layout_of(spec).makes_files else data_root()
    try:
        return base / Path(spec.root).expanduser()
    except RuntimeError as error:
        raise UsageError(
            f"the root {shown(spec.root)} of the data set {spec.name} is no folder", str(error)
        ) from None


def find_cases(spec: DataSpec) -> list[Case]:
    """The usable cases of a data set, in its own order; labels without an image are left out.

    Raises:
        DataError: the folder is missing (says how to get the data), holds no case, or a case has a
            name that another one has or that cannot name a file.
        UsageError: the layout of the spec is wrong.
    """
    found = [case for case in all_cases(spec) if case.images]
    if not found:
        raise DataError(
            f"no case of {spec.name} in {data_folder(spec)}",
            f"no image fits the layout '{spec.layout.kind}' of its data spec",
            "compare the folder with the data spec",
        )
    return found


def all_cases(spec: DataSpec) -> list[Case]:
    """Every case, also those that only have a label.

    Raises:
        DataError, UsageError: as `find_cases`.
    """
    found, faults = listed_cases(spec)
    refuse(faults)
    twice = [name for name, count in Counter(case.id for case in found).items() if count > 1]
    if twice:
        raise DataError(
            f"{len(twice)} case names of {spec.name} occur more than once, first {twice[0]}",
            "results are named after the case",
            "give every case its own name",
        )
    return found


def listed_cases(spec: DataSpec) -> tuple[list[Case], list[Fault]]:
    """Every case that can be understood, and what is wrong with how they are listed and named.

    Cases in the faults are not among them where their name or a path cannot be used.

    Raises:
        DataError: the folder is missing, or its list cannot be read.
        UsageError: the layout of the spec is wrong.
    """
    root = existing_folder(spec)
    found, faults = layout_of(spec).find(spec, root)
    odd = {number: fault for number, case in enumerate(found) for fault in _unfit(case, root)}
    kept = [case for number, case in enumerate(found) if number not in odd]
    return kept, [*faults, *odd.values()]


def existing_folder(spec: DataSpec) -> Path:
    """Where the files of a data set are.

    Raises:
        DataError: the folder is missing (says how to get the data).
        UsageError: the layout of the spec is unknown.
    """
    root = data_folder(spec)
    if not layout_of(spec).makes_files and not root.is_dir():
        raise _missing(spec, root)
    return root


def _unfit(case: Case, root: Path) -> Iterator[Fault]:
    """What keeps a case from being used: results are files named after it, its files are paths."""
    if reason := unfit(case.id):
        what = f"the case {shown(case.id)} in {root} cannot name a file: {reason}"
        yield Fault(shown(case.id), root, "name", what, "give the case another name")
    if has_control(case.patient + case.session):
        what = f"the patient or the session of case {shown(case.id)} has a control character"
        yield Fault(shown(case.id), root, "name", what, "correct it in the list")
    for path in (*case.images.values(), *([case.label] if case.label else [])):
        if is_no_path(str(path)):
            what = f"the case {shown(case.id)} in {root} names the file {shown(str(path))}"
            do = "its name is too long or not printable; rename or correct it"
            yield Fault(shown(case.id), root, "name", what, do)


def _missing(spec: DataSpec, root: Path) -> DataError:
    if spec.downloads:
        do = f"run `medssl data fetch {spec.name}`"
    elif spec.homepage:
        do = f"get it from {spec.homepage} and put it there"
    else:
        do = "put it there"
    return DataError(
        f"the data set {spec.name} is not in {root}",
        "",
        f"{do}, or set MEDSSL_DATA to the folder that holds '{spec.root}'",
    )
