"""Heat maps for QuPath: GeoJSON with a square per tile.

The form is the one QuPath (0.4 and later) writes and reads itself: each feature's `properties` hold
`objectType`, `classification` (name and colour), `color` and `measurements`; coordinates are
level-0 pixels with the origin in the top-left corner.

Legend: N tiles, K classes.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medssl.atomic import appearing
from medssl.export.heat_map import heat_colours

DECIMALS = 4
"""Decimals of probabilities; more would only make the file longer."""

CLASS_COLOURS = ((86, 180, 233), (213, 94, 0), (0, 158, 115), (204, 121, 167), (240, 228, 66))
"""Colours of Okabe and Ito, which colour-blind readers can tell apart."""


def write_tiles(
    path: Path,
    places: np.ndarray,
    span: float,
    probability: np.ndarray,
    classes: Sequence[str],
    predicted: np.ndarray,
    shown: int = 1,
) -> None:
    """Write the tiles of one slide, atomically and feature by feature, however many there are.

    In QuPath: File > Import objects, then colour by a measurement, or as they are.

    Args:
        path: ends in `.geojson`.
        places: [N, 2] top-left corners (x, y), level-0 px.
        span: side of a tile, level-0 px.
        probability: [N, K]; each class's becomes the measurement "probability CLASS".
        classes: K names.
        predicted: [N] class indices, the tiles' classification.
        shown: the class whose probability colours the tile.

    Raises:
        ValueError: shapes do not fit, or a probability is not a number in [0, 1].
    """
    probability = np.asarray(probability, dtype=np.float64)
    count = len(probability)
    if probability.shape != (count, len(classes)):
        raise ValueError(f"probabilities of shape {probability.shape} for {len(classes)} classes")
    if np.shape(places) != (count, 2) or np.shape(predicted) != (count,):
        raise ValueError(f"{count} tiles have other numbers of places or predictions")
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("a probability lies outside [0, 1]")
    with appearing(path) as beside, beside.open("w", encoding="utf-8") as stream:
        stream.write('{"type": "FeatureCollection", "features": [')
        features = _features(np.asarray(places), span, probability, classes, predicted, shown)
        for number, feature in enumerate(features):
            stream.write(",\n" if number else "\n")
            stream.write(json.dumps(feature, separators=(",", ":"), ensure_ascii=False))
        stream.write("\n]}\n")


def _features(
    places: np.ndarray,
    span: float,
    probability: np.ndarray,
    classes: Sequence[str],
    predicted: np.ndarray,
    shown: int,
) -> Iterator[dict[str, Any]]:
    names = [f"probability {name}" for name in classes]
    labels = [
        {"name": name, "color": CLASS_COLOURS[index % len(CLASS_COLOURS)]}
        for index, name in enumerate(classes)
    ]
    for (x, y), values, label, colour in zip(
        places, probability, predicted, heat_colours(probability[:, shown]), strict=True
    ):
        yield {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [_square(x, y, span)]},
            "properties": {
                "objectType": "tile",
                "color": colour.tolist(),
                "classification": labels[label],
                "measurements": dict(zip(names, values.round(DECIMALS).tolist(), strict=True)),
            },
        }


def _square(x: Any, y: Any, span: float) -> list[list[float]]:
    """A closed ring; whole numbers stay whole, others keep two decimals."""
    left, top, right, bottom = (
        int(edge) if float(edge).is_integer() else round(float(edge), 2)
        for edge in (x, y, x + span, y + span)
    )
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
