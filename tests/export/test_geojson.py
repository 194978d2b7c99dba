import json

import numpy as np
import pytest
import shapely
from shapely.geometry import shape

from medssl.data.slide.annotation_files import read_annotation
from medssl.export.geojson import write_tiles
from medssl.export.heat_map import heat_colours

PLACES = np.array([[0, 0], [512, 0], [512, 512]], dtype=np.int32)
PROBABILITY = np.array([[0.9, 0.1], [0.2, 0.8], [1 / 3, 2 / 3]])
CLASSES = ("normal", "tumour")


@pytest.fixture
def features(tmp_path) -> list[dict]:
    path = tmp_path / "slide.geojson"
    write_tiles(path, PLACES, 512, PROBABILITY, CLASSES, np.array([0, 1, 1]))
    assert [found.name for found in tmp_path.iterdir()] == ["slide.geojson"]
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["type"] == "FeatureCollection"
    return document["features"]


def test_geometry_is_that_of_the_tiles(features):
    for feature, (x, y) in zip(features, PLACES, strict=True):
        square = shape(feature["geometry"])
        assert square.is_valid
        assert square.equals(shapely.box(x, y, x + 512, y + 512))
        ring = feature["geometry"]["coordinates"][0]
        assert ring[0] == ring[-1]
        assert all(isinstance(edge, int) for corner in ring for edge in corner)


def test_properties_are_those_of_qupath(features):
    assert features[2]["type"] == "Feature"
    properties = features[2]["properties"]
    assert properties["objectType"] == "tile"
    assert properties["classification"]["name"] == "tumour"
    assert len(properties["classification"]["color"]) == 3
    assert properties["measurements"] == {
        "probability normal": 0.3333,
        "probability tumour": 0.6667,
    }
    assert properties["color"] == heat_colours(np.array([2 / 3]))[0].tolist()
    assert [f["properties"]["classification"]["name"] for f in features] == [
        "normal", "tumour", "tumour",
    ]  # fmt: skip


def test_the_file_reads_back_as_outlines(tmp_path):
    path = tmp_path / "slide.geojson"
    write_tiles(path, PLACES, 512, PROBABILITY, CLASSES, np.array([0, 1, 1]))
    assert read_annotation(path, lesions=["tumour"]).area == 2 * 512**2


def test_places_between_pixels(tmp_path):
    path = tmp_path / "slide.geojson"
    write_tiles(path, np.array([[0.125, 7.0]]), 10.5, PROBABILITY[:1], CLASSES, np.array([0]))
    ring = json.loads(path.read_text())["features"][0]["geometry"]["coordinates"][0]
    assert ring[2] == [10.62, 17.5]


def test_a_slide_without_tiles(tmp_path):
    path = tmp_path / "slide.geojson"
    write_tiles(path, np.empty((0, 2)), 9, np.empty((0, 2)), CLASSES, np.empty(0, int))
    assert json.loads(path.read_text())["features"] == []


def test_memory_does_not_grow_with_the_text(tmp_path):
    """8,000 tiles are 2 MB of text; while they are written a small part of that is held."""
    import tracemalloc

    count = 8_000
    places = np.stack([np.arange(count) % 100, np.arange(count) // 100], axis=1) * 512
    probability = np.linspace(0, 1, count)[:, None] * [[1, 1]]
    path = tmp_path / "slide.geojson"
    write_tiles(path, places[:5], 512, probability[:5], CLASSES, np.ones(5, int))
    tracemalloc.start()
    write_tiles(path, places, 512, probability, CLASSES, np.ones(count, int))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 1_500_000
    assert peak < 750_000


@pytest.mark.parametrize(
    ("probability", "predicted"),
    [(PROBABILITY[:2], [0, 1]), (PROBABILITY, [0, 1]), (PROBABILITY * 2, [0, 1, 1]),
     (PROBABILITY[:, :1], [0, 0, 0]), (PROBABILITY * np.nan, [0, 1, 1])],
)  # fmt: skip
def test_what_does_not_fit_is_refused(tmp_path, probability, predicted):
    with pytest.raises(ValueError, match=r"tiles|probabilit"):
        write_tiles(tmp_path / "s.geojson", PLACES, 9, probability, CLASSES, np.array(predicted))
    assert not list(tmp_path.iterdir())


def test_a_failure_midway_leaves_the_old_file(tmp_path):
    path = tmp_path / "slide.geojson"
    path.write_text("old")
    with pytest.raises(IndexError):
        write_tiles(path, PLACES, 512, PROBABILITY, CLASSES, np.array([0, 1, 7]))
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1
