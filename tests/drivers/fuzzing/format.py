"""What the fuzz driver knows of a format: a valid sample, how to damage it, who reads it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.random import Generator

Step = tuple[str, Callable[[], Any]]
"""A name, and what reads the sample; raises `Silent` where the value read is wrong."""


class Silent(Exception):
    """Something was read or done without complaint, and an independent reader says otherwise."""


@dataclass(frozen=True)
class Format:
    """One kind of input.

    Attributes:
        make: writes a valid sample into a folder.
        damage: changes one thing in a copy of it; returns in words what it did.
        exercise: the steps that read the copy, which is the working directory, each carried out
            by itself; given the copy and the valid sample.
        weight: share of the inputs, against 1; less where a step is slow.
    """

    name: str
    make: Callable[[Path], None]
    damage: Callable[[Path, Generator], str]
    exercise: Callable[[Path, Path], Iterable[Step]]
    weight: float = 1.0
