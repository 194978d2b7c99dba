from collections.abc import Callable

import numpy as np
import pytest

from medssl.data.geometry import Geometry
from medssl.evaluate.segmentation import case_scores
from medssl.evaluate.summary import CaseScores

CLASSES = ("background", "near", "far")
GRID = Geometry((10, 12, 14), np.diag([2.0, 1.0, 1.0, 1.0]))


def truth() -> np.ndarray:
    """Two cubes of 2x2x2 voxels, classes 1 and 2."""
    labels = np.zeros(GRID.shape, np.uint8)
    labels[1:3, 1:3, 1:3] = 1
    labels[6:8, 6:8, 9:11] = 2
    return labels


@pytest.fixture
def scored() -> Callable[..., CaseScores]:
    """Scores of a named case whose prediction is the truth moved along the second axis."""

    def make(name: str, shift: int = 0, *, without: int = 0, voxels: bool = False) -> CaseScores:
        prediction = np.roll(truth(), shift, axis=1)
        prediction[prediction == without] = 0
        found = case_scores(prediction, truth(), GRID.spacing, CLASSES, 1.0, voxels)
        return CaseScores(name, tuple(found))

    return make
