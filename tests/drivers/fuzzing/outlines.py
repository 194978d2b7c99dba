"""Lesions drawn on slides: QuPath's GeoJSON, polygons by sign, ASAP's XML."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.random import Generator

from tests.drivers.fuzzing.damage import ODD, damage_bytes, damage_json, pick
from tests.drivers.fuzzing.format import Format, Step
from tests.drivers.fuzzing.volumes import name_subject, subject

RING = [[32, 32], [96, 32], [96, 96], [32, 96], [32, 32]]
HOLE = [[40, 40], [50, 40], [50, 50], [40, 40]]

GEOJSON = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {"classification": {"name": "Tumor", "color": [200, 0, 0]}},
            "geometry": {"type": "Polygon", "coordinates": [RING, HOLE]},
        },
        {
            "type": "Feature",
            "properties": {"classification": {"names": ["Ignore*"]}},
            "geometry": {"type": "MultiPolygon", "coordinates": [[RING], [HOLE]]},
        },
    ],
}

SIGNED = {"positive": [{"name": "a", "vertices": RING}, HOLE], "negative": [HOLE]}

ASAP = """<?xml version="1.0"?>
<ASAP_Annotations>
  <Annotations>
    <Annotation Name="a 0" Type="Polygon" PartOfGroup="metastases" Color="#F4FA58">
      <Coordinates>
        <Coordinate Order="0" X="32.5" Y="32" /><Coordinate Order="1" X="96" Y="32" />
        <Coordinate Order="2" X="96" Y="96" /><Coordinate Order="3" X="32" Y="96" />
      </Coordinates>
    </Annotation>
    <Annotation Name="a 1" Type="Dot" PartOfGroup="normal" Color="#F4FA58">
      <Coordinates><Coordinate Order="0" X="1" Y="1" /></Coordinates>
    </Annotation>
  </Annotations>
  <AnnotationGroups><Group Name="metastases" PartOfGroup="None" Color="#ff0000"/></AnnotationGroups>
</ASAP_Annotations>
"""


def _make(place: Path) -> None:
    (place / "a.geojson").write_text(json.dumps(GEOJSON))
    (place / "b.json").write_text(json.dumps(SIGNED))
    (place / "c.xml").write_text(ASAP)


def _damage(place: Path, rng: Generator) -> str:
    path = name_subject(place, place / pick(rng, ("a.geojson", "a.geojson", "b.json", "c.xml")))
    if path.suffix != ".xml":
        return damage_json(path, rng)
    if rng.random() < 0.3:
        return damage_bytes(path, rng)
    text = path.read_text()
    spot = pick(rng, list(re.finditer(r'"([^"]*)"', text)))
    odd = str(pick(rng, [one for one in ODD if isinstance(one, str | int | float)]))
    odd = odd.replace("\0", "").replace("[", "<")
    path.write_text(text[: spot.start(1)] + odd + text[spot.end(1) :])
    return f"c.xml: {spot.group()} -> {odd[:40]!r}"


def _exercise(place: Path, _: Path) -> Iterable[Step]:
    from medssl.data.slide.annotation import tile_labels
    from medssl.data.slide.annotation_files import read_annotation

    path = subject(place)

    def read() -> None:
        found = read_annotation(path)
        float(found.area), found.outlines
        tile_labels(found, np.array([[0, 0], [64, 64]]), 32.0, 0.5)

    yield "read", read


FORMAT = Format("outlines", _make, _damage, _exercise)
