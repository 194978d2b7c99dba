import gzip
import json

import numpy as np
import pytest
import shapely

from medssl.data.slide.annotation import Annotation, outline
from medssl.evaluate.froc import Detections, froc_curve, froc_score, hits
from medssl.evaluate.lesions import (
    DOWNSAMPLE,
    ISOLATED,
    Lesions,
    evaluation_mask,
    longest_diameters,
)

SPACING = 0.243
"""µm per level-0 pixel of CAMELYON16's first scanner."""


def test_growth_is_half_of_75_micrometres():
    """At 10 µm per pixel: a disc of all pixels nearer than 3.75."""
    tumour = np.zeros((15, 15), bool)
    tumour[7, 7] = True
    y, x = np.mgrid[-7:8, -7:8]
    np.testing.assert_array_equal(evaluation_mask(tumour, 10) > 0, np.hypot(x, y) < 3.75)


def test_regions_may_lie_at_the_edge_of_the_slide():
    tumour = np.zeros((30, 60), bool)
    tumour[0, 0] = tumour[29, 59] = True
    y, x = np.mgrid[:30, :60]
    near = np.minimum(np.hypot(x, y), np.hypot(x - 59, y - 29)) < 3.75
    np.testing.assert_array_equal(evaluation_mask(tumour, 10) > 0, near)


@pytest.mark.parametrize(("gap", "regions"), [(7, 1), (9, 2)])
def test_what_is_near_is_one(gap, regions):
    tumour = np.zeros((20, 40), bool)
    tumour[10, 15], tumour[10, 15 + gap] = True, True
    assert evaluation_mask(tumour, 10).max() == regions


def test_holes_are_filled_and_corners_join():
    tumour = np.zeros((40, 40), bool)
    tumour[5:35, 5:35], tumour[15:25, 15:25] = True, False
    assert evaluation_mask(tumour, 100)[20, 20] == 1
    corners = np.zeros((6, 6), bool)
    corners[1, 1] = corners[2, 2] = True
    assert evaluation_mask(corners, 100).max() == 1


@pytest.mark.parametrize("angle", [0, 30, 90])
def test_the_longest_diameter_of_an_ellipse(angle):
    y, x = np.mgrid[-60:61, -60:61].astype(float)
    turn = np.radians(angle)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    mask = ((along / 50) ** 2 + (across / 20) ** 2 <= 1).astype(np.int32)
    assert longest_diameters(mask)[0] == pytest.approx(100, rel=0.01)


def test_the_longest_diameter_of_a_line_by_hand():
    """Places 0, 1, 2, 3 have variance 1.25."""
    assert longest_diameters(np.array([[1, 1, 1, 1]]))[0] == pytest.approx(4 * np.sqrt(1.25))


@pytest.mark.parametrize(("side", "ignored"), [(150, {1}), (250, set())])
def test_small_regions_are_isolated_tumour_cells(side, ignored):
    """Discs of 150 and 250 µm grow to about 225 and 325; the limit is 275."""
    y, x = np.mgrid[-40:41, -40:41] * 7.776
    lesions = Lesions.from_mask(np.hypot(x, y) < side / 2, 0.243, 32)
    assert lesions.ignored == ignored
    assert lesions.count == 1 - len(ignored)
    assert Lesions.from_mask(np.hypot(x, y) < side / 2, 0.243, 32, isolated=0).count == 1


def test_no_tumour_is_no_region():
    lesions = Lesions.from_mask(np.zeros((5, 5), bool), 0.25, 32)
    assert (lesions.count, lesions.ignored) == (0, frozenset())


@pytest.fixture(scope="module")
def camelyon16(shared_data) -> dict[str, Annotation]:
    """Three slides with real outlines; to read all 110 takes seconds."""
    path = shared_data / "camelyon16_meta" / "c16_train_tumor_polygons.json.gz"
    with gzip.open(path, "rt") as stream:
        slides = json.load(stream)
    return {
        name: Annotation.of(
            *(map(outline, slides[name][sign]) for sign in ("positive", "negative"))
        )
        for name in ("Tumor_003", "Tumor_093", "Tumor_098")
    }


def test_real_lesions_are_found_by_a_perfect_detector(camelyon16):
    """A detection inside each outline of Tumor_098 finds all its targets, at no false alarm."""
    annotation = camelyon16["Tumor_098"]
    size = (32000, 66000)
    lesions = Lesions.from_annotation(annotation, size, SPACING)
    assert lesions.mask.shape == (2063, 1000)
    assert lesions.downsample == DOWNSAMPLE
    inside = np.array(
        [shapely.get_coordinates(shape.representative_point())[0] for shape in annotation.lesions]
    )
    assert shapely.intersects_xy(annotation.region, *inside.T).all()
    found = hits(Detections(inside, np.full(len(inside), 0.8)), lesions)
    assert not len(found.false_positives)
    assert found.lesions.tolist() == [0.8] * lesions.count
    assert froc_score(froc_curve([found])) == 1


def test_isolated_cells_among_real_lesions(camelyon16):
    """Single outlines whose longest side is far from the limit are judged as it says."""
    shapes = [shape for slide in camelyon16.values() for shape in slide.lesions]
    judged = []
    for shape in shapes:
        left, top, right, bottom = shape.bounds
        moved = shapely.transform(shape, lambda xy, x=left, y=top: xy - (x - 800, y - 800))
        size = (int(right - left) + 1600, int(bottom - top) + 1600)
        lesions = Lesions.from_annotation(Annotation((moved,)), size, SPACING)
        longest = np.hypot(right - left, bottom - top) * SPACING
        if longest < 100 or min(right - left, bottom - top) * SPACING > 300:
            judged.append(longest)
            assert lesions.count == (longest > ISOLATED)
    assert min(judged) < 100 < 300 < max(judged)
