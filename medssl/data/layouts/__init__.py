"""How files in a folder become cases: one module per kind.

A module `table` here with a function `cases(spec, root)` is what makes `layout: {kind: table}`
work. It returns every case it can see, also those that lack an image, in the data set's own order.
"""

import importlib
import pkgutil
from collections import Counter
from pathlib import Path

from medssl.data.spec import Case, DataSpec
from medssl.environment import cache_root, data_root
from medssl.errors import DataError, UsageError

MADE = frozenset({"brain_cohort", "planted"})
"""Kinds that make their files on first use, under the cache."""


def data_folder(spec: DataSpec) -> Path:
    """Where the files of a data set are, or belong."""
    base = cache_root() if spec.layout.kind in MADE else data_root()
    return base / Path(spec.root).expanduser()


def find_cases(spec: DataSpec) -> list[Case]:
    """The usable cases of a data set, in its own order; labels without an image are left out.

    Raises:
        DataError: the folder is missing (says how to get the data), holds no case, or two cases
            have one name.
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
    """Every case, also those that only have a label; for the data check."""
    kind, root = spec.layout.kind, existing_folder(spec)
    found: list[Case] = importlib.import_module(f"{__name__}.{kind}").cases(spec, root)
    twice = [name for name, count in Counter(case.id for case in found).items() if count > 1]
    if twice:
        raise DataError(
            f"{len(twice)} case names of {spec.name} occur more than once, first {twice[0]}",
            "results are named after the case",
            "give every case its own name",
        )
    return found


def existing_folder(spec: DataSpec) -> Path:
    """Where the files of a data set are.

    Raises:
        DataError: the folder is missing (says how to get the data).
        UsageError: the layout of the spec is unknown.
    """
    known = sorted(module.name for module in pkgutil.iter_modules(__path__))
    kind = spec.layout.kind
    if kind not in known:
        raise UsageError(
            f"the data spec {spec.name} has the unknown layout '{kind}'",
            do=f"choose one of: {', '.join(known)}",
        )
    root = data_folder(spec)
    if kind not in MADE and not root.is_dir():
        raise _missing(spec, root)
    return root


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
