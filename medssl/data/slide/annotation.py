"""Lesions drawn on a slide: their geometry, the tiles they touch, and their mask.

Everything is in level-0 pixels, x to the right and y down from the slide's top-left corner; pixel
(column, row) covers the square from (column, row) to (column + 1, row + 1).

Legend: N tiles or points, M vertices, h w rows and columns of a mask.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np

from medssl.errors import DataError

Shape = Any
"""A valid shapely Polygon or MultiPolygon."""

TileRule = Literal["lesion", "any_outline"]


@dataclass(frozen=True)
class Annotation:
    """What was drawn on one slide.

    Attributes:
        lesions: one valid shape per drawn outline; numbers of lesions count them from 1.
        exclusions: shapes cut out of all lesions: holes, normal tissue inside a lesion.
    """

    lesions: tuple[Shape, ...] = ()
    exclusions: tuple[Shape, ...] = ()

    @classmethod
    def of(cls, lesions: Iterable[Shape], exclusions: Iterable[Shape] = ()) -> Self:
        """Repair every shape; those without area (dots, lines) are left out."""
        found = ([shape for raw in drawn if (shape := repaired(raw))] for drawn in
                 (lesions, exclusions))  # fmt: skip
        return cls(*(tuple(shapes) for shapes in found))

    @cached_property
    def region(self) -> Shape:
        """The lesions' union without the exclusions."""
        import shapely

        return shapely.difference(
            shapely.union_all(self.lesions), shapely.union_all(self.exclusions)
        )

    @cached_property
    def area(self) -> float:
        """Area of `region`, square level-0 pixels."""
        return float(self.region.area)

    @property
    def outlines(self) -> list[np.ndarray]:
        """The rings around and within `region`, each [M, 2] (x, y), to be drawn."""
        import shapely

        parts = shapely.get_parts(self.region)
        rings = [ring for part in parts for ring in (part.exterior, *part.interiors)]
        return [shapely.get_coordinates(ring) for ring in rings]


def outline(vertices: Sequence[Sequence[float]]) -> Shape:
    """The polygon inside a closed line [M, 2] of (x, y); empty with fewer than 3 vertices.

    Raises:
        DataError: a vertex is not two finite numbers.
    """
    import shapely

    try:
        points = np.asarray(vertices, dtype=np.float64)
    except (TypeError, ValueError):
        points = np.empty(0)
    if len(vertices) and (points.ndim != 2 or points.shape[1] < 2 or not np.isfinite(points).all()):
        raise DataError("an outline holds a vertex that is not two numbers, x and y")
    return shapely.Polygon(points[:, :2]) if len(points) >= 3 else shapely.Polygon()


def repaired(shape: Shape) -> Shape | None:
    """The same shape made valid, or None if it has no area.

    What a crossing line surrounds twice counts as inside, as whoever drew it meant; the other
    usual repair would cut it out as a hole.
    """
    import shapely

    if not shape.is_valid:
        shape = shapely.make_valid(shape, method="structure", keep_collapsed=False)
    if not shape.is_valid:  # parts may cross where corners were rounded; by now only in slivers
        shape = shapely.make_valid(shape)
    pieces = shapely.get_parts(shapely.get_parts(shape))  # twice: collections hold multipolygons
    parts = [part for part in pieces if part.geom_type == "Polygon" and part.area]
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def tile_labels(
    annotation: Annotation,
    places: np.ndarray,
    span: float,
    share: float = 0.0,
    rule: TileRule = "lesion",
) -> np.ndarray:
    """Which tiles show a lesion.

    Args:
        annotation: of the slide.
        places: [N, 2] top-left corners (x, y), level-0 px.
        span: side of a tile, level-0 px.
        share: of its area that a tile must share with the lesions. At 0 a touch is enough, of the
            border too.
        rule: "lesion" leaves exclusions out. "any_outline" is the rule of Snuffy's released code:
            every outline counts, exclusions too, so a tile wholly inside an exclusion is positive.

    Returns:
        [N] bool.

    Raises:
        ValueError: `span` is not positive or `share` lies outside [0, 1].
    """
    import shapely

    if span <= 0 or not 0 <= share <= 1:
        raise ValueError(f"tiles of side {span} that share {share} of their area")
    region = annotation.region
    if rule == "any_outline":
        region = shapely.union_all((*annotation.lesions, *annotation.exclusions))
    x, y = np.asarray(places, dtype=np.float64).reshape(-1, 2).T
    tiles = shapely.box(x, y, x + span, y + span)
    parts = shapely.get_parts(region)
    part, tile = shapely.STRtree(tiles).query(parts, predicate="intersects")
    if not share:
        labels = np.zeros(len(tiles), dtype=bool)
        labels[tile] = True
        return labels
    common = shapely.area(shapely.intersection(parts[part], tiles[tile]))
    return np.asarray(
        np.bincount(tile, weights=common, minlength=len(tiles)) >= share * span**2 * (1 - 1e-9)
    )


def lesion_mask(annotation: Annotation, size: tuple[int, int], downsample: float) -> np.ndarray:
    """A label image of the lesions.

    A mask pixel belongs to the lesion that holds its centre, of several to the first; exclusions
    are 0.

    Args:
        annotation: of the slide.
        size: width and height of the slide, level-0 px.
        downsample: level-0 pixels per mask pixel along each axis.

    Returns:
        [h, w] int32, 0 outside, lesion numbers inside; the sides are rounded up.
    """
    width, height = (int(np.ceil(side / downsample)) for side in size)
    mask = np.zeros((height, width), dtype=np.int32)
    for number, shape in reversed(list(enumerate(annotation.lesions, start=1))):
        _fill(mask, shape, downsample, number)
    for shape in annotation.exclusions:
        _fill(mask, shape, downsample, 0)
    return mask


def _fill(mask: np.ndarray, shape: Shape, downsample: float, number: int) -> None:
    """Write `number` where pixel centres lie in the shape: an even-odd scan of its rings."""
    import shapely

    height, width = mask.shape
    low_x, low_y, high_x, high_y = (edge / downsample for edge in shape.bounds)
    left, right = (int(np.clip(np.floor(x), 0, width)) for x in (low_x, high_x + 1))
    top, bottom = (int(np.clip(np.floor(y), 0, height)) for y in (low_y, high_y + 1))
    if left == right or top == bottom:
        return
    crossings = np.zeros((bottom - top, right - left + 1), dtype=bool)
    for part in shapely.get_parts(shape):
        for ring in (part.exterior, *part.interiors):
            row, column = _crossings(shapely.get_coordinates(ring) / downsample, top, bottom)
            np.logical_xor.at(crossings, (row - top, np.clip(column, left, right) - left), True)
    inside = np.logical_xor.accumulate(crossings, axis=1)[:, :-1]
    mask[top:bottom, left:right][inside] = number


def _crossings(ring: np.ndarray, top: int, bottom: int) -> tuple[np.ndarray, np.ndarray]:
    """Where a closed ring [M, 2] crosses the rows' centre lines.

    Returns:
        The row of each crossing, from `top` to `bottom` - 1, and the first column whose centre
        lies on or after it.
    """
    start, end = ring[:-1], ring[1:]
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first = np.clip(np.ceil(low - 0.5), top, bottom).astype(np.int64)
    stop = np.clip(np.ceil(high - 0.5), top, bottom).astype(np.int64)
    count = stop - first
    edge = np.repeat(np.arange(len(count)), count)
    row = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    (x, y), (dx, dy) = start[edge].T, (end - start)[edge].T
    return row, np.ceil(x + (row + 0.5 - y) * dx / dy - 0.5).astype(np.int64)
