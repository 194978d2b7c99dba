"""Files of outlines: QuPath's GeoJSON, ASAP's XML (CAMELYON), and JSON of polygons by sign."""

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medssl.data.slide.annotation import Annotation, Shape, outline
from medssl.data.slide.xml import parse_xml
from medssl.errors import DataError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

EXCLUSIONS = frozenset({"_2", "exclusion", "normal", "ignore*"})
"""Names, in lower case, of what is cut out of lesions: CAMELYON16's group `_2`, CAMELYON17's
`normal`, ASAP's `Exclusion` and QuPath's `Ignore*`."""

_LARGEST = 500_000_000
"""Bytes of a file."""


def read_annotation(
    path: Path,
    lesions: Collection[str] | None = None,
    exclusions: Collection[str] = EXCLUSIONS,
) -> Annotation:
    """The outlines of one slide, level-0 px.

    Args:
        path: `.geojson` or `.json` (QuPath's features, or polygons under `positive` and
            `negative`), or `.xml` (ASAP).
        lesions: names of classes that are lesions, whatever their case; None takes all but
            `exclusions`.
        exclusions: names of classes that are cut out of lesions.

    Raises:
        DataError: the file is missing, broken, of another form, or declares XML entities.
    """
    suffix = path.suffix.lower()
    if suffix == ".xml":
        named = _asap(path)
    elif suffix in {".geojson", ".json"}:
        document = _load(path)
        if isinstance(document, dict) and "positive" in document:
            return _signed(document, path)
        named = _geojson(document, path)
    else:
        raise DataError(
            f"{path} is no file of outlines that is known",
            do="give .geojson or .json (QuPath) or .xml (ASAP)",
        )
    wanted = None if lesions is None else {name.lower() for name in lesions}
    cut = {name.lower() for name in exclusions}
    shapes = [(name.lower(), shape) for name, shape in named]
    return _annotation(
        path,
        [s for name, s in shapes if name not in cut and (wanted is None or name in wanted)],
        [shape for name, shape in shapes if name in cut],
    )


def _annotation(path: Path, lesions: list[Shape], exclusions: list[Shape]) -> Annotation:
    import shapely

    shapes = [*lesions, *exclusions]
    if shapes and not np.isfinite(shapely.get_coordinates(shapes)).all():
        raise DataError(
            f"{path} has a corner that is not two finite numbers", do="export the file again"
        )
    try:
        return Annotation.of(lesions, exclusions)
    except shapely.errors.ShapelyError as error:
        raise DataError(f"{path} has an outline that cannot be", str(error)) from error


def _load(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
        if len(raw) > _LARGEST:
            raise ValueError(f"it has more than {_LARGEST // 10**6} MB")
        return json.loads(raw)
    except RecursionError as error:
        raise DataError(f"{path} cannot be read as JSON", "it is nested too deep") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON", str(error)) from error


def _signed(polygons: dict[str, Any], path: Path) -> Annotation:
    """{"positive": [...], "negative": [...]}, each polygon a list or {"vertices": list}."""
    if not {"positive", "negative"} >= set(polygons):
        raise DataError(f"{path} has keys other than 'positive' and 'negative'")
    shapes: dict[str, list[Shape]] = {"positive": [], "negative": []}
    for sign, drawn in polygons.items():
        for number, polygon in enumerate(drawn if isinstance(drawn, list) else [drawn], start=1):
            vertices = polygon.get("vertices") if isinstance(polygon, Mapping) else polygon
            shapes[sign].append(_outline(vertices, f"outline {number} of '{sign}'", path))
    return _annotation(path, shapes["positive"], shapes["negative"])


def _outline(vertices: Any, name: str, path: Path) -> Shape:
    if not isinstance(vertices, list):
        raise DataError(f"{name} of {path} is no list of corners")
    try:
        return outline(vertices)
    except DataError as error:
        raise DataError(
            f"{name} of {path} has a corner that is not two finite numbers, x and y"
        ) from error


def _geojson(document: Any, path: Path) -> Iterator[tuple[str, Shape]]:
    """Class and shape of each feature with an area; a collection, a list or a single feature."""
    import shapely
    from shapely.geometry import shape

    if isinstance(document, Mapping) and document.get("type") == "FeatureCollection":
        document = document.get("features")
    features = [document] if isinstance(document, Mapping) else document
    if not isinstance(features, list):
        raise DataError(f"{path} is no GeoJSON: it has no list of features")
    for number, feature in enumerate(features, start=1):
        try:
            drawn = shape(feature["geometry"])
            name = _class_name(feature.get("properties") or {})
        except (
            LookupError, TypeError, AttributeError, ValueError, OverflowError, RecursionError,
            shapely.errors.ShapelyError,
        ) as error:  # fmt: skip
            raise DataError(
                f"feature {number} of {path} has no geometry that can be read",
                str(error),
                "export the file again from QuPath",
            ) from error
        yield name, drawn


def _class_name(properties: Mapping[str, Any]) -> str:
    classification = properties.get("classification") or {}
    if "names" in classification:  # QuPath since 0.5 splits derived classes
        return ": ".join(classification["names"])
    return str(classification.get("name", ""))


def _asap(path: Path) -> Iterator[tuple[str, Shape]]:
    """Group and polygon of each ASAP annotation."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read as XML", str(error)) from error
    root = parse_xml(raw, path, "outlines")
    if root.tag != "ASAP_Annotations":
        raise DataError(f"{path} is no ASAP file", f"its root is {root.tag}")
    for annotation in root.iter("Annotation"):
        name = f"annotation {annotation.get('Name', 'without a name')}"
        vertices = _vertices(annotation, name, path)
        yield annotation.get("PartOfGroup", ""), _outline(vertices, name, path)


def _vertices(annotation: "Element", name: str, path: Path) -> list[tuple[float, float]]:
    corners = annotation.iter("Coordinate")
    try:
        ordered = sorted(corners, key=lambda corner: int(float(corner.get("Order", ""))))
        return [(float(corner.get("X", "")), float(corner.get("Y", ""))) for corner in ordered]
    except (ValueError, OverflowError) as error:
        raise DataError(f"{name} of {path} has a broken coordinate") from error
