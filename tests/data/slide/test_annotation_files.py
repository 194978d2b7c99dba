import json
import random

import pytest
import shapely

from medssl.data.slide.annotation_files import read_annotation
from medssl.errors import DataError

TRIANGLE = [[0, 0], [10, 0], [0, 10]]


def feature(name: str, geometry) -> dict:
    """One QuPath annotation."""
    return {
        "type": "Feature",
        "id": "5e3b8a2e-0f4b-4c2e-9b0e-3d7c1a4f8b11",
        "geometry": geometry,
        "properties": {
            "objectType": "annotation",
            "classification": {"name": name, "color": [200, 0, 0]},
        },
    }


def ring(*corners: list[float]) -> list:
    return [*corners, corners[0]]


HOLED = {
    "type": "Polygon",
    "coordinates": [
        ring([0, 0], [100, 0], [100, 100], [0, 100]),
        ring([10, 10], [20, 10], [20, 20], [10, 20]),
    ],
}
NOWHERE = {"type": "Polygon", "coordinates": [[[0, 0], [1, float("nan")], [1, 1], [0, 0]]]}
ASAP_ORDER = (
    '<ASAP_Annotations><Annotation Name="long"><Coordinate Order="1e400" X="1" Y="1"/>'
    "</Annotation></ASAP_Annotations>"
)
DOT = {"type": "Point", "coordinates": [5, 5]}
SMALL = {"type": "Polygon", "coordinates": [ring([50, 50], [60, 50], [60, 60], [50, 60])]}


@pytest.fixture
def written(tmp_path):
    """Writes text under a name."""

    def write(name: str, content) -> object:
        path = tmp_path / name
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, encoding="utf-8")
        return path

    return write


FEATURES = [feature("Tumor", HOLED), feature("Tumor", DOT), feature("Ignore*", SMALL)]


@pytest.mark.parametrize("whole", [{"type": "FeatureCollection", "features": FEATURES}, FEATURES])
def test_qupath(written, whole):
    """Holes of a polygon, a class that is cut out, and a dot that is no lesion."""
    found = read_annotation(written("slide.geojson", whole))
    assert (len(found.lesions), len(found.exclusions)) == (1, 1)
    assert found.area == 100**2 - 2 * 10**2


def test_qupath_classes_can_be_chosen(written):
    several = {"type": "MultiPolygon", "coordinates": [HOLED["coordinates"], SMALL["coordinates"]]}
    bare = {"type": "Feature", "geometry": SMALL, "properties": {}}
    path = written("s.json", [feature("Tumor", HOLED), feature("Stroma", several), bare])
    assert len(read_annotation(path).lesions) == 3
    assert read_annotation(path, lesions=["tumor"]).area == 100**2 - 10**2
    assert read_annotation(path, exclusions=["STROMA"]).area == 0


def asap(*annotations: tuple[str, list]) -> str:
    body = "".join(
        f'<Annotation Name="{n}" Type="Polygon" PartOfGroup="{group}" Color="#F4FA58"><Coordinates>'
        + "".join(
            f'<Coordinate Order="{order}" X="{x}" Y="{y}" />'
            for order, (x, y) in reversed(list(enumerate(corners)))
        )
        + "</Coordinates></Annotation>"
        for n, (group, corners) in enumerate(annotations)
    )
    return f"<ASAP_Annotations><Annotations>{body}</Annotations></ASAP_Annotations>"


def test_asap_groups_and_order(written):
    """CAMELYON16: groups _0 and _1 are tumour, _2 is cut out; corners stand in any order."""
    square = [[0, 0], [20.5, 0], [20.5, 20], [0, 20]]
    path = written(
        "t.xml", asap(("_0", square), ("_1", TRIANGLE), ("_2", [[5, 5], [9, 5], [9, 9]]))
    )
    found = read_annotation(path)
    assert (len(found.lesions), len(found.exclusions)) == (2, 1)
    assert found.lesions[0].equals(shapely.Polygon(square))
    assert found.area == 20.5 * 20 - 8


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_with_entities_is_refused(tmp_path, encoding):
    path = tmp_path / "bomb.xml"
    path.write_bytes(
        '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "ha">]><a>&b;</a>'.encode(encoding)
    )
    with pytest.raises(DataError, match="entities"):
        read_annotation(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xml", "<broken", "XML"),
        ("a.xml", "<svg/>", "ASAP"),
        ("a.xml", asap(("_0", [["x", 0], [1, 1], [2, 0]])), "coordinate"),
        ("a.xml", "", "XML"),
        ("a.xml", asap(("_0", [["nan", 0], [1, 1], [2, 0]])), "annotation 0 .* not two finite"),
        ("a.xml", ASAP_ORDER, "annotation long .* broken coordinate"),
        ("a.xml", '<?xml version="1.0" encoding="klingon"?><a/>', "XML"),
        ("a.geojson", "{broken", "JSON"),
        ("a.geojson", "[" * 100_000, "nested too deep"),
        ("a.geojson", "3", "list of features"),
        ("a.geojson", "null", "list of features"),
        ("a.geojson", ["text", 7], "feature 1"),
        ("a.geojson", [feature("x", None)], "feature 1"),
        ("a.geojson", [feature("x", {"type": "Circle", "coordinates": []})], "feature 1"),
        ("a.geojson", [feature("x", {"type": "Polygon", "coordinates": {"a": 1}})], "feature 1"),
        ("a.geojson", [{"geometry": SMALL, "properties": [1]}], "feature 1"),
        ("a.geojson", [{"geometry": SMALL, "properties": {"classification": 5}}], "feature 1"),
        ("a.geojson", [feature("x", NOWHERE)], "not two finite numbers"),
        ("a.json", {"positive": 7}, "outline 1 of 'positive'"),
        ("a.json", {"positive": [{"corners": TRIANGLE}]}, "outline 1 of 'positive'"),
        ("a.json", {"positive": [TRIANGLE, [["a", 1], [2, 3]]]}, "outline 2 of 'positive'"),
        ("a.json", {"positive": [TRIANGLE, 7]}, "outline 2 of 'positive'"),
        ("a.geojson", {"type": "FeatureCollection"}, "features"),
        ("a.geojson", [{"type": "Feature"}], "feature 1"),
        ("a.geojson", [feature("x", {"type": "Polygon", "coordinates": [1]})], "feature 1"),
        ("a.json", {"positive": [TRIANGLE], "maybe": []}, "keys"),
        ("a.txt", "", "geojson"),
    ],
)
def test_broken_files_are_named(written, name, content, message):
    path = written(name, content)
    with pytest.raises(DataError, match=message) as caught:
        read_annotation(path)
    assert str(path) in str(caught.value)


def test_a_missing_file(tmp_path):
    for name in ("none.xml", "none.geojson"):
        with pytest.raises(DataError, match=name):
            read_annotation(tmp_path / name)


def test_polygons_by_sign(written):
    named = {"positive": [{"name": "Annotation 0", "vertices": TRIANGLE}], "negative": []}
    assert read_annotation(written("a.json", named)).area == 50
    bare = {"positive": [TRIANGLE, [[0, 0], [1, 1]]], "negative": []}
    assert len(read_annotation(written("b.json", bare)).lesions) == 1  # a line has no area


def test_a_file_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("medssl.data.slide.annotation_files._LARGEST", 1000)
    path = tmp_path / "large.json"
    path.write_bytes(b" " * 2000)
    with pytest.raises(DataError, match=r"large\.json .* has more than"):
        read_annotation(path)


@pytest.mark.parametrize("suffix", ["xml", "geojson", "json"])
def test_files_of_outlines_may_be_damaged_anywhere(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    whole = {
        "xml": asap(("_0", [[0, 0], [20.5, 0], [20.5, 20], [0, 20]])),
        "geojson": json.dumps(FEATURES),
        "json": json.dumps({"positive": [TRIANGLE], "negative": []}),
    }[suffix].encode()
    rng = random.Random(0)
    outcomes = set()
    for _ in range(300):
        changed = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            changed[rng.randrange(len(changed))] = rng.choice(b'0159eE-+.[]{}",:<>/ &\0n')
        path.write_bytes(changed)
        try:
            outcomes.add(read_annotation(path).area >= 0)
        except DataError as error:
            outcomes.add(path.name in str(error))
    assert outcomes == {True}
