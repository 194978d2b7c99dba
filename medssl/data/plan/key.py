"""A key of a pipeline that was planned."""

from dataclasses import dataclass
from typing import Any

from medssl.yaml_text import Row


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

    @property
    def row(self) -> Row:
        """As a row of a YAML file."""
        return tuple(self.key.split(".")), self.value, self.why
