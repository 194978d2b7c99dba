"""What the columns of a user's table are called, where a data spec may say it."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from medssl.data.csv_table import Row


class Columns(BaseModel):
    """By what a column holds, its name; null: there is none.

    Attributes:
        needed: what a table must say; other columns may be missing unless they are named.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    needed: ClassVar[frozenset[str]] = frozenset()

    @property
    def required(self) -> list[str]:
        """Columns that are needed, or named here."""
        wanted = self.needed | self.model_fields_set
        return [name for key, name in self if key in wanted and name is not None]

    def present(self, rows: Sequence[Row]) -> dict[str, str]:
        """Columns that the table has, by what they hold."""
        return {key: name for key, name in self if rows and name in rows[0]}
