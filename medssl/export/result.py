"""What there is to write of a case: its mask with all that it refers to."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import medssl
from medssl.data.dicom.series import Series
from medssl.data.geometry import Geometry
from medssl.data.labels import Label
from medssl.data.volume import Volume
from medssl.errors import DataError


@dataclass(frozen=True)
class Algorithm:
    """Who segmented, as DICOM objects say it.

    Attributes:
        name: of the model, at most 64 characters.
        parameters: what tells it from others, by name.
    """

    name: str = "medssl"
    version: str = medssl.__version__
    parameters: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Result:
    """The mask of a case.

    Attributes:
        values: integers [X, Y, Z] in the labels' values.
        labels: become segments 1, 2, ... in this order, present in the mask or not.
        source: what messages call it.
        series: the DICOM series whose grid it lies on; None where the scan was none.
        probabilities: [K, X, Y, Z] of background and the labels, where they are wanted.
    """

    values: np.ndarray
    geometry: Geometry
    labels: tuple[Label, ...]
    source: str
    series: Series | None = None
    probabilities: np.ndarray | None = None
    algorithm: Algorithm = Algorithm()

    @classmethod
    def of(cls, mask: Volume, labels: Sequence[Label], series: Series | None = None) -> "Result":
        """The result for a mask that was read."""
        return cls(mask.array[0], mask.geometry, tuple(labels), mask.source, series)

    @property
    def referred(self) -> Series:
        """The DICOM series that the result refers to.

        Raises:
            DataError: there is none.
        """
        if self.series is None:
            raise DataError(
                f"{self.source} is no DICOM series",
                "what is to be written refers to one",
                "predict from a DICOM series, or write another format",
            )
        return self.series

    def on_series(self, array: np.ndarray) -> np.ndarray:
        """An array [..., X, Y, Z] with the axes of the series: columns, rows, slices.

        Raises:
            DataError: the mask does not lie on the grid of the series.
        """
        series = self.referred
        grid, turn = self.geometry.oriented(series.geometry.orientation)
        if not grid.matches(series.geometry):
            raise DataError(
                f"{self.source} does not lie on the grid of the DICOM series",
                grid.difference(series.geometry),
                "predict from the series itself, or resample the mask to it",
            )
        return turn.apply(array)

    def segments(self, array: np.ndarray) -> np.ndarray:
        """Mask values to segment numbers 1, 2, ..., uint8.

        Raises:
            DataError: there is a value that no label has.
        """
        numbers = {label.value: number for number, label in enumerate(self.labels, start=1)}
        unknown = [int(value) for value in np.unique(array) if value and value not in numbers]
        if unknown:
            raise DataError(
                f"{self.source} holds the value {unknown[0]}",
                f"the labels declare {', '.join(str(value) for value in numbers)}",
                "name the data spec or the checkpoint that the mask belongs to",
            )
        table = np.zeros(256, np.uint8)
        table[list(numbers)] = list(numbers.values())
        return np.asarray(table[array])
