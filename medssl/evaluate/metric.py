"""Numbers that tell how well a run answers, and what is said of them; free of torch and numpy."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from medssl.evaluate.surface import Spacing


@dataclass(frozen=True)
class Metric:
    """A number of each class of each case, and how it is called and read.

    A package offers one under its key. It is measured where `evaluate.metrics` of a pipeline that
    segments names it, and imported to check that key, so heavy packages are imported inside
    `measure`.

    Attributes:
        key: its column in scores.csv.
        title: heading of its column in the report.
        unit: what it counts in, e.g. "mm"; empty: it is a share from 0 to 1.
        meaning: for a reader of the report, in one sentence, and what it is for empty masks.
        measure: of the predicted mask, the true mask, both [X, Y, Z] bool on one grid, and the
            spacing in mm; a finite number, also where one or both masks are empty, as no case is
            left out of a mean. None for what medssl itself measures.
    """

    key: str
    title: str
    unit: str = ""
    higher_is_better: bool = False
    meaning: str = ""
    measure: Callable[["np.ndarray", "np.ndarray", "Spacing"], float] | None = None


@dataclass(frozen=True)
class ClassMetric:
    """A number of how well radiographs are graded or slides are called.

    A package offers one under its key, as a `Metric`; pipelines that grade or call name it.

    Attributes:
        key: what its number is called in summaries and logs.
        title: how the report calls it.
        measure: of S cases, the probabilities [S, K], what was said and the truth, both [S] class
            indices. It is called once more for every draw of the interval.
    """

    key: str
    title: str
    measure: Callable[["np.ndarray", "np.ndarray", "np.ndarray"], float]
    higher_is_better: bool = True


MEASURED = (
    Metric("dice", "Dice", higher_is_better=True),
    Metric("jaccard", "Jaccard", higher_is_better=True),
    Metric("nsd", "NSD", higher_is_better=True),
    Metric("hd95", "HD95", "mm"),
    Metric("asd", "ASD", "mm"),
    Metric("assd", "ASSD", "mm"),
    Metric("hd95_voxels", "HD95", "voxels"),
    Metric("asd_voxels", "ASD", "voxels"),
)
"""What medssl itself measures of masks, by the attributes of `ClassScore`."""
