"""A key of a pipeline that was planned."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Planned:
    """One key.

    Attributes:
        key: with dots, as in an override.
        value: as YAML has it.
        why: a sentence.
    """

    key: str
    value: Any
    why: str
