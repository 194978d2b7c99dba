"""Refusing a data set for what is wrong with its cases, after all of them were looked at."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from medssl.data.spec import DataSpec
from medssl.errors import DataError

Given = TypeVar("Given")
Made = TypeVar("Made")


def attempt(work: Callable[[Given], Made], given: Given, name: str) -> Made | DataError:
    """What `work` makes of a case called `name`, or why it is refused, for `refuse_cases`."""
    try:
        return work(given)
    except DataError as error:
        return error
    except MemoryError:
        return DataError(
            f"case {name} does not fit into the memory of this machine",
            do="check its headers, or leave it out",
        )


def refuse_cases(errors: Sequence[DataError], spec: DataSpec) -> None:
    """Refuse a data set for what is wrong with its cases.

    Raises:
        DataError: `errors` is not empty; the message is the first, how many more there are and the
            command that lists them.
    """
    if errors:
        first, more = errors[0], len(errors) - 1
        others = f"{more} more {'cases are' if more > 1 else 'case is'} wrong" if more else ""
        raise DataError(
            first.what,
            "; ".join(part for part in (first.why, others) if part),
            f"{first.do}; `medssl data check {spec.name}` lists all that is wrong".lstrip("; "),
        ) from first
