"""What a family says of its finished runs: how they are read, set side by side and told of."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from medssl.data.spec import DataSpec
    from medssl.pipeline.results import Result
    from medssl.pipeline.study import Cell, Study


class Comparison(ABC):
    """How runs of a family are compared; it may import torch, as it is asked for late.

    Attributes:
        heads: headings of the scores in the table of `medssl compare`.
        difference_heads: of the columns that set a run against the reference; "{}" in the first
            stands for the reference.
    """

    heads: ClassVar[tuple[str, ...]]
    difference_heads: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def read(self, folder: Path) -> tuple[Mapping[str, float], Any]:
        """Numbers of a finished run by name, and the scores of its single cases.

        Raises:
            UsageError, DataError, OSError, ValueError, KeyError, TypeError: they are damaged.
        """

    @abstractmethod
    def cells(self, run: "Result") -> list[str]:
        """The scores of one run, under `heads`."""

    def difference(self, run: "Result", reference: "Result") -> list[str]:
        """A run against the reference over the cases of both, under `difference_heads`.

        Empty texts where they have too few cases in common.
        """
        return ["" for _ in self.difference_heads]

    @abstractmethod
    def introduction(self, study: "Study", specs: "Sequence[DataSpec]") -> str:
        """One paragraph: what the numbers of a study's page are."""

    @abstractmethod
    def sections(self, study: "Study", results: "Mapping[Cell, Result]") -> list[str]:
        """Lines of Markdown: the tables of a study's page."""

    def columns(self, run: "Result") -> Mapping[str, float]:
        """The numbers of a run in study.csv, by name."""
        return run.numbers

    def draw(  # noqa: B027 - most families draw nothing
        self, study: "Study", results: "Mapping[Cell, Result]", folder: Path
    ) -> None:
        """Further files of a study, such as a learning curve."""
