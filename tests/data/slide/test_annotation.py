import gzip
import json

import numpy as np
import pytest
import shapely

from medssl.data.slide.annotation import (
    Annotation,
    lesion_mask,
    outline,
    repaired,
    tile_labels,
)
from medssl.errors import DataError

SPACING = 0.243
"""µm per level-0 pixel of CAMELYON16's first scanner."""

SQUARE = shapely.box(100, 100, 200, 200)
HOLED = Annotation((SQUARE, shapely.box(400, 0, 420, 20)), (shapely.box(120, 120, 180, 180),))


def test_exclusions_are_cut_out():
    assert HOLED.area == 100**2 + 20**2 - 60**2
    assert sorted(shapely.Polygon(ring).area for ring in HOLED.outlines) == [20**2, 60**2, 100**2]
    assert Annotation().outlines == []


def test_a_crossing_outline_keeps_what_it_surrounds():
    """A bow tie is two triangles; what is surrounded twice is inside, not a hole."""
    bow = repaired(outline([(0, 0), (10, 10), (10, 0), (0, 10)]))
    assert (bow.is_valid, bow.area) == (True, 50)
    twice = [(0, 0), (10, 0), (10, 10), (0, 10), (0, 0), (5, 0), (5, 5), (0, 5)]
    assert repaired(outline(twice)).area == 100


def test_repairs_lose_no_piece():
    """A collection may hold a multipolygon beside a line; only the line is left out."""
    pair = shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(5, 5, 7, 7)])
    mixed = shapely.GeometryCollection([pair, shapely.LineString([(0, 0), (9, 9)])])
    assert repaired(mixed).equals(pair)


@pytest.mark.parametrize("vertices", [[], [(1, 1)], [(0, 0), (5, 5)], [(0, 0), (5, 5), (9, 9)]])
def test_dots_and_lines_are_no_lesions(vertices):
    assert Annotation.of([outline(vertices), SQUARE]).lesions == (SQUARE,)


@pytest.mark.parametrize("vertices", [[(0, 0), (1, 0), (1, np.nan)], [1, 2, 3], [(0, 0), "ab"]])
def test_broken_vertices_are_refused(vertices):
    with pytest.raises(DataError, match="vertex"):
        outline(vertices)


def test_tiles_by_hand():
    """Beside, touching the border, across it, inside, in the hole, on the second lesion."""
    places = [(0, 0), (50, 120), (80, 150), (101, 101), (140, 140), (390, 0)]
    assert tile_labels(HOLED, np.array(places), 15).tolist() == [
        False, False, False, True, False, True,
    ]  # fmt: skip
    assert tile_labels(HOLED, np.array([(85, 150), (86, 150)]), 15).all()


def test_tiles_must_share_enough():
    """From left to right 5, 10 and 20 of 20 columns lie inside."""
    places = np.array([(85, 90), (90, 100), (100, 100), (0, 0)])
    assert tile_labels(HOLED, places, 20, share=0.25).tolist() == [False, True, True, False]
    assert tile_labels(HOLED, places, 20, share=0.5).tolist() == [False, True, True, False]
    assert tile_labels(HOLED, places, 20, share=1.0).tolist() == [False, False, True, False]


def test_the_released_rule_ignores_that_exclusions_exclude():
    inside = np.array([(140, 140)])
    assert not tile_labels(HOLED, inside, 20)
    assert tile_labels(HOLED, inside, 20, rule="any_outline")


def test_a_slide_without_lesions_has_no_positive_tile():
    for share in (0.0, 0.5):
        assert not tile_labels(Annotation(), np.array([(0, 0), (9, 9)]), 256, share).any()
    assert tile_labels(HOLED, np.empty((0, 2)), 256).shape == (0,)


@pytest.mark.parametrize(("span", "share"), [(0, 0), (10, 1.5), (10, -0.1)])
def test_tiles_must_make_sense(span, share):
    with pytest.raises(ValueError, match="tiles"):
        tile_labels(HOLED, np.array([(0, 0)]), span, share)


def test_of_overlapping_lesions_the_first_counts():
    both = Annotation((shapely.box(0, 0, 20, 20), shapely.box(10, 0, 30, 20)))
    assert lesion_mask(both, (30, 20), 10).tolist() == [[1, 1, 2], [1, 1, 2]]


def test_a_mask_by_hand():
    mask = lesion_mask(HOLED, (425, 205), 20)
    assert mask.shape == (11, 22)  # rounded up
    expected = np.zeros((11, 22), int)
    expected[5:10, 5:10] = 1
    expected[6:9, 6:9] = 0
    expected[0, 20] = 2
    np.testing.assert_array_equal(mask, expected)


def test_a_mask_holds_the_pixels_whose_centres_are_inside():
    """A star with a hole that sticks out of the slide, against asking for every centre."""
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    radius = np.where(np.arange(24) % 2, 90, 35)[:, None]
    star = np.stack([np.cos(turn), np.sin(turn)], axis=1) * radius + (60.3, 41.7)
    shape = shapely.Polygon(star, [shapely.get_coordinates(shapely.box(50, 30, 71.1, 50.2))])
    mask = lesion_mask(Annotation((repaired(shape),)), (101, 97), 3)
    y, x = (np.mgrid[:33, :34] + 0.5) * 3
    np.testing.assert_array_equal(mask > 0, shapely.contains_xy(shape, x, y))


def test_lesions_beside_the_slide_leave_the_mask_empty():
    assert not lesion_mask(Annotation((shapely.box(-50, -50, -10, -10),)), (100, 100), 10).any()


def test_real_outlines_are_valid_and_plausible(camelyon16):
    """110 slides, 2163 lesions of which one is a line, 425 exclusions; areas in mm2."""
    assert len(camelyon16) == 110
    assert sum(len(slide.lesions) for slide in camelyon16.values()) == 2162
    assert sum(len(slide.exclusions) for slide in camelyon16.values()) == 425
    shapes = [shape for slide in camelyon16.values() for shape in slide.lesions]
    assert all(shapely.is_valid(shapes))
    assert all(shapely.is_valid([slide.region for slide in camelyon16.values()]))
    areas = np.array([slide.area for slide in camelyon16.values()]) * (SPACING / 1000) ** 2
    assert areas.min() > 0.001
    assert areas.max() < 400
    assert 0.1 < np.median(areas) < 10


def test_repairs_keep_the_area_of_real_outlines(camelyon16, shared_data):
    """By the shoelace formula on the drawn corners, which a few crossings hardly change."""
    path = shared_data / "camelyon16_meta" / "c16_train_tumor_polygons.json.gz"
    with gzip.open(path, "rt") as stream:
        drawn = json.load(stream)
    for slide in ("Tumor_026", "Tumor_055", "Tumor_061", "Tumor_064"):
        total = 0.0
        for corners in drawn[slide]["positive"]:
            x, y = np.array(corners, dtype=float).T
            total += abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2
        found = sum(shape.area for shape in camelyon16[slide].lesions)
        assert found == pytest.approx(total, rel=0.001)


def test_patches_labelled_by_others_agree(camelyon16, shared_data):
    """20,000 centres in tumour and 20,000 outside it, from NCRF's lists."""
    found = {}
    for kind in ("tumor", "normal"):
        text = (shared_data / "camelyon16_meta" / f"ncrf_{kind}_valid.txt").read_text()
        slides: dict[str, list[tuple[int, int]]] = {}
        for line in text.split():
            slide, x, y = line.split(",")
            slides.setdefault(slide, []).append((int(x), int(y)))
        found[kind] = [
            (np.array(points), camelyon16.get(slide, Annotation()))
            for slide, points in slides.items()
        ]
    inside, outside = (
        sum(
            int((shapely.intersects_xy(shape.region, *xy.T) == (kind == "tumor")).sum())
            for xy, shape in found[kind]
        )
        for kind in ("tumor", "normal")
    )
    assert inside >= 19_950  # the others lie in exclusions of Tumor_107, which NCRF passes over
    assert outside >= 19_998  # two lie on an outline
    touched = sum(int(tile_labels(shape, xy - 128, 256).sum()) for xy, shape in found["tumor"])
    half = sum(int(tile_labels(shape, xy - 128, 256, 0.5).sum()) for xy, shape in found["tumor"])
    assert touched == 20_000
    assert 18_500 < half < touched


@pytest.mark.parametrize("slide", ["Tumor_081", "Tumor_093", "Tumor_098", "Tumor_110"])
def test_masks_of_real_lesions_have_their_area(camelyon16, slide):
    annotation = camelyon16[slide]
    right, bottom = annotation.region.bounds[2:]
    mask = lesion_mask(annotation, (int(right) + 1, int(bottom) + 1), 16)
    assert np.count_nonzero(mask) * 16**2 == pytest.approx(annotation.area, rel=0.01)
    assert set(np.unique(mask)) <= set(range(len(annotation.lesions) + 1))
