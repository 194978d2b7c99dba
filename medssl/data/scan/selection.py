"""The scans that are chosen to learn from: the file that `medssl select` writes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medssl.data.spec import Case
from medssl.errors import UsageError


@dataclass(frozen=True)
class Selection:
    """Which cases of which data sets are learnt from.

    Attributes:
        path: of the file, for messages.
        kept: "data set/case" of each.
        chosen_from: names of the data sets that were chosen from.
    """

    path: Path
    kept: frozenset[str]
    chosen_from: frozenset[str]

    def holds(self, data: str, case: Case) -> bool:
        """Whether a case is learnt from; cases of data sets that were not chosen from are."""
        return data not in self.chosen_from or f"{data}/{case.id}" in self.kept

    def must_be_of(self, data: str, cases: Sequence[Case]) -> None:
        """Refuse a file that was made for other cases of a data set.

        Raises:
            UsageError: it names a case that is not among them.
        """
        known = {f"{data}/{case.id}" for case in cases}
        kept = {one for one in self.kept if one.startswith(f"{data}/")}
        if others := sorted(kept - known):
            raise UsageError(
                f"{self.path} chooses {others[0]}, which is not in this pipeline",
                do="choose anew with `medssl select`, or leave `selected` out",
            )


def read_selection(path: Path) -> Selection:
    """The choice in a file.

    Raises:
        UsageError: there is no such file, or `medssl select` has not written it.
    """
    try:
        said: Any = json.loads(path.read_text())
        kept = frozenset(case for unit in said["kept"] for case in unit["cases"])
        return Selection(path, kept, frozenset(said["data"]))
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist", do="make it with `medssl select`") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is no choice of scans",
            f"{type(error).__name__} where it is read",
            "make it with `medssl select`",
        ) from None
