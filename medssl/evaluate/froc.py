"""FROC: share of lesions found against false alarms per slide, over all thresholds.

The score is that of CAMELYON16: the mean sensitivity at 1/4, 1/2, 1, 2, 4 and 8 false positives per
slide, each read at the first operating point that reaches the rate. MONAI's score differs: it
interpolates between the two points around each rate.

Legend: M detections, N tiles, R regions, T thresholds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medssl.evaluate.lesions import Lesions

RATES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positives per slide at which sensitivity is read."""


@dataclass(frozen=True)
class Detections:
    """Where lesions are claimed on one slide.

    Attributes:
        points: [M, 2] (x, y), level-0 px.
        probability: [M] in [0, 1]; those of 0 claim nothing.
    """

    points: np.ndarray
    probability: np.ndarray

    def __post_init__(self) -> None:
        points, probability = np.asarray(self.points), np.asarray(self.probability)
        if points.shape != (len(probability), 2) or probability.ndim != 1:
            raise ValueError(f"{points.shape} points with {probability.shape} probabilities")
        if not np.isfinite(points).all() or not ((probability >= 0) & (probability <= 1)).all():
            raise ValueError("a detection has no finite place or no probability in [0, 1]")


@dataclass(frozen=True)
class Hits:
    """What the detections of one slide hit.

    Attributes:
        false_positives: probabilities of the detections outside all regions.
        lesions: [count] largest probability of the detections in each target, 0 if none.
    """

    false_positives: np.ndarray
    lesions: np.ndarray


@dataclass(frozen=True)
class FrocCurve:
    """Operating points, from the strictest threshold to the loosest.

    Attributes:
        threshold: [T] descending; infinity first, where nothing is detected.
        false_positives: [T] mean per slide, ascending.
        sensitivity: [T] share of all targets of all slides; NaN without targets.
        lesions, slides: how many.
    """

    threshold: np.ndarray
    false_positives: np.ndarray
    sensitivity: np.ndarray
    lesions: int
    slides: int


def detections_from_tiles(
    places: np.ndarray,
    span: float,
    probability: np.ndarray,
    threshold: float = 0.0,
    radius: float | None = None,
) -> Detections:
    """Detections at the centres of tiles whose probability exceeds a threshold.

    Without `radius` each such tile is a detection, as in Snuffy's released evaluation: every wrong
    tile is a false positive. With `radius` only local maxima are: the most probable tile is taken,
    all tiles whose centre lies in the square of half side `radius` around its centre are struck
    out, and so on, as in the challenge's example and e.g. NCRF. Of equals the first tile is taken.

    Args:
        places: [N, 2] top-left corners (x, y) of the tiles, level-0 px.
        span: side of a tile, level-0 px.
        probability: [N] in [0, 1].
        threshold: chosen on the validation slides.
        radius: level-0 px.
    """
    from scipy.spatial import KDTree

    centres = np.asarray(places, dtype=np.float64).reshape(-1, 2) + span / 2
    probability = np.asarray(probability, dtype=np.float64)
    kept = np.flatnonzero(probability > threshold)
    if radius is None or not len(kept):
        return Detections(centres[kept], probability[kept])
    tree = KDTree(centres[kept])
    struck = np.zeros(len(kept), dtype=bool)
    maxima = []
    for index in np.argsort(-probability[kept], kind="stable"):
        if not struck[index]:
            maxima.append(kept[index])
            struck[tree.query_ball_point(centres[kept[index]], radius, p=np.inf)] = True
    return Detections(centres[maxima], probability[maxima])


def hits(detections: Detections, lesions: Lesions | None) -> Hits:
    """Match the detections of one slide with its lesions.

    Places are rounded to the mask's pixels, as the challenge does; those beyond its edge count at
    the edge.

    Args:
        detections: of the slide.
        lesions: None for a slide without tumour, where every detection is a false positive.
    """
    if lesions is None:
        return Hits(np.asarray(detections.probability, dtype=np.float64), np.empty(0))
    row, column = _pixels(detections, lesions).T
    hit = lesions.mask[row, column]
    probability = np.asarray(detections.probability, dtype=np.float64)
    best = np.zeros(int(lesions.mask.max(initial=0)) + 1)
    np.maximum.at(best, hit, probability)
    targets = [number for number in range(1, len(best)) if number not in lesions.ignored]
    return Hits(probability[hit == 0], best[targets])


def froc_curve(slides: Sequence[Hits], count: int | None = None) -> FrocCurve:
    """All operating points: one per distinct probability above 0, and one without detections.

    Args:
        count: how many slides there are, where `slides` pools them; None: each is one.

    Raises:
        ValueError: there are no slides.
    """
    if not slides:
        raise ValueError("there are no slides to count lesions on")
    wrong = np.sort(np.concatenate([slide.false_positives for slide in slides]))
    found = np.sort(np.concatenate([slide.lesions for slide in slides]))
    values = np.unique(np.concatenate([wrong, found]))
    threshold = np.concatenate([[np.inf], values[values > 0][::-1]])
    # A detection counts at every threshold that it reaches.
    false = len(wrong) - np.searchsorted(wrong, threshold, side="left")
    true = len(found) - np.searchsorted(found, threshold, side="left")
    count = len(slides) if count is None else count
    sensitivity = true / len(found) if len(found) else np.full(len(threshold), np.nan)
    return FrocCurve(threshold, false / count, sensitivity, len(found), count)


def sensitivities(curve: FrocCurve) -> dict[float, float]:
    """Sensitivity at each of `RATES`: the first point with at least so many false positives.

    Where the curve ends before a rate, its last point counts. This is the challenge's step rule.
    """
    place = np.searchsorted(curve.false_positives, RATES, side="left")
    reached = curve.sensitivity[np.minimum(place, len(curve.sensitivity) - 1)]
    return dict(zip(RATES, reached.tolist(), strict=True))


def froc_score(curve: FrocCurve) -> float:
    """CAMELYON16's score in [0, 1], by the step rule; NaN without targets."""
    return float(np.mean(list(sensitivities(curve).values())))


def _pixels(detections: Detections, lesions: Lesions) -> np.ndarray:
    """Mask pixel (row, column) of each detection, [M, 2]."""
    places = np.rint(np.asarray(detections.points, dtype=np.float64)[:, ::-1] / lesions.downsample)
    return np.asarray(np.clip(places, 0, np.array(lesions.mask.shape) - 1).astype(np.int64))
