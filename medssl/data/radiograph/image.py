"""A radiograph in memory, as its file has it.

Legend: H W pixels of the file.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np

from medssl.errors import DataError

Side = Literal["L", "R"]

LARGEST = 100_000_000
"""Pixels that an image may have: a whole leg at 0.1 mm has 60 million. A damaged header may claim
any number."""


@dataclass(frozen=True)
class Radiograph:
    """One image as its file has it.

    Attributes:
        source: the file, for messages.
        pixels: [H, W] float32; bone is bright.
        spacing: mm from row to row and from column to column; None where the file does not say.
        side: of the body; None where the file does not say.
        aspect: distance of rows over that of columns, where the file says no more than that.
    """

    source: str
    pixels: np.ndarray
    spacing: tuple[float, float] | None = None
    side: Side | None = None
    aspect: float = 1.0

    @property
    def stretch(self) -> float:
        """Distance of rows over that of columns; 1 for square pixels."""
        return self.aspect if self.spacing is None else self.spacing[0] / self.spacing[1]

    def with_spacing(self, stated: float | None) -> Self:
        """The same image with square pixels of `stated` mm; None leaves what the file says.

        Raises:
            DataError: the file says that its pixels are not square.
        """
        if stated is None:
            return self
        if abs(self.stretch - 1) > 0.01:
            raise DataError(
                f"the pixels of {self.source} are not square by its header",
                f"its rows lie {self.stretch:.3g} times as far apart as its columns, and "
                f"{stated:g} mm is stated for both",
                "leave out the spacing so that the header's is taken, or correct the header",
            )
        return replace(self, spacing=(stated, stated))


def side_of(stated: str) -> Side | None:
    """L or R, from "L", "left", "R" or "right" in any case; None for all else."""
    sides: dict[str, Side] = {"L": "L", "LEFT": "L", "R": "R", "RIGHT": "R"}
    return sides.get(stated.strip().upper())


def must_not_be_huge(path: Path, rows: int, columns: int) -> None:
    """Refuse an image before memory is taken for it.

    Raises:
        DataError: it has more than `LARGEST` pixels.
    """
    if rows * columns > LARGEST:
        raise DataError(
            f"{path} is too large for a radiograph",
            f"it says that it has {columns} x {rows} pixels; at most {LARGEST // 10**6} million "
            "are read",
            "copy it again, or export it smaller",
        )


def unreadable(path: Path) -> DataError:
    """The error for a file that no reader understands."""
    empty = path.stat().st_size == 0
    return DataError(
        f"{path} cannot be read",
        "it is empty" if empty else "it is truncated, damaged, or neither DICOM, PNG nor JPEG",
        "copy or export it again",
    )
