import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import compute_fp_tp_probs

from medssl.evaluate.froc import (
    Detections,
    Hits,
    detections_from_tiles,
    froc_curve,
    froc_score,
    hits,
    sensitivities,
)
from medssl.evaluate.lesions import Lesions

EDGE = 32
"""Level-0 pixels per mask pixel."""


@pytest.fixture
def three_lesions() -> Lesions:
    """Two targets and, as number 2, isolated tumour cells."""
    mask = np.zeros((40, 60), np.int32)
    mask[2:12, 2:12], mask[20:22, 20:22], mask[25:39, 40:58] = 1, 2, 3
    return Lesions(mask, EDGE, frozenset({2}))


def at(*claims: tuple[float, float, float]) -> Detections:
    """Detections from (column, row, probability) in mask pixels."""
    table = np.array(claims, dtype=float).reshape(-1, 3)
    return Detections(table[:, :2] * EDGE, table[:, 2])


def wrong(*probability: float) -> Hits:
    """A slide without tumour with false positives."""
    return Hits(np.array(probability), np.empty(0))


def test_a_direct_count(three_lesions):
    """The best hit counts for a lesion, isolated cells neither help nor harm, the rest is wrong."""
    found = hits(
        at((5, 5, 0.6), (6, 9, 0.9), (20, 21, 0.8), (50, 30, 0.4), (30, 5, 0.7), (0, 39, 0.2)),
        three_lesions,
    )
    assert found.false_positives.tolist() == [0.7, 0.2]
    assert found.lesions.tolist() == [0.9, 0.4]
    assert three_lesions.count == 2


def test_on_a_slide_without_tumour_everything_is_wrong():
    found = hits(at((5, 5, 0.6), (6, 9, 0.9)), None)
    assert (found.false_positives.tolist(), len(found.lesions)) == ([0.6, 0.9], 0)


def test_operating_points_by_hand(three_lesions):
    slides = [
        hits(at((5, 5, 0.9), (50, 30, 0.4), (30, 5, 0.7)), three_lesions),
        wrong(0.4, 0.3),
    ]
    curve = froc_curve(slides)
    assert curve.threshold.tolist() == [np.inf, 0.9, 0.7, 0.4, 0.3]
    assert curve.false_positives.tolist() == [0, 0, 0.5, 1, 1.5]
    assert curve.sensitivity.tolist() == [0, 0.5, 0.5, 1, 1]
    assert (curve.lesions, curve.slides) == (2, 2)
    assert sensitivities(curve) == {0.25: 0.5, 0.5: 0.5, 1: 1, 2: 1, 4: 1, 8: 1}
    assert froc_score(curve) == pytest.approx(5 / 6)


def test_a_perfect_detector_scores_1_and_none_scores_0(three_lesions):
    perfect, nothing = at((5, 5, 1), (50, 30, 0.9)), at()
    for detections, score in ((perfect, 1), (nothing, 0)):
        slides = [(detections, three_lesions), (nothing, None)]
        assert froc_score(froc_curve([hits(*slide) for slide in slides])) == score


def test_between_two_points_the_next_one_counts(three_lesions):
    """One lesion at no false positive, both at two: 1/4, 1/2 and 1 take the latter."""
    detections = at((5, 5, 0.9), (30, 5, 0.5), (31, 5, 0.5), (50, 30, 0.5), (1, 39, 0.1))
    curve = froc_curve([hits(detections, three_lesions)])
    assert froc_score(curve) == 1


def test_the_end_of_the_curve_counts_for_rates_beyond_it(three_lesions):
    curve = froc_curve([hits(at((5, 5, 0.9)), three_lesions), wrong(0.3)])
    assert curve.false_positives[-1] == 0.5
    assert set(sensitivities(curve).values()) == {0.5}


def test_of_points_with_equal_false_positives_the_first_counts():
    """At rate 1 the challenge reads the point that first reaches it, not the best one there."""
    curve = froc_curve([Hits(np.array([0.9]), np.array([0.8]))])
    assert curve.false_positives.tolist() == [0, 1, 1]
    assert sensitivities(curve)[1.0] == 0
    assert sensitivities(curve)[0.25] == 0
    assert sensitivities(curve)[2.0] == 1


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 10)), min_size=1, max_size=30))
def test_every_point_is_a_count(claims):
    """Against counting at each threshold, ties and missed lesions included."""
    false = np.array([value / 10 for lesion, value in claims if not lesion])
    true = np.array([value / 10 for lesion, value in claims if lesion])
    curve = froc_curve([Hits(false, true), wrong(), wrong()])
    for threshold, rate, sensitivity in zip(
        curve.threshold, curve.false_positives, curve.sensitivity, strict=True
    ):
        assert rate == pytest.approx((false >= threshold).sum() / 3)
        if len(true):
            assert sensitivity == pytest.approx((true >= threshold).mean())
    points = list(zip(curve.false_positives, curve.sensitivity, strict=True))
    for rate, sensitivity in sensitivities(curve).items() if len(true) else ():
        assert sensitivity == next((s for f, s in points if f >= rate), points[-1][1])
    assert set(curve.threshold[1:]) == {value / 10 for _, value in claims} - {0}


def test_without_lesions_there_is_no_sensitivity():
    curve = froc_curve([wrong(0.5)])
    assert np.isnan(froc_score(curve))


def test_places_are_rounded_to_pixels_and_kept_on_the_mask(three_lesions):
    """1.6 pixels are 2, where the first lesion begins; MONAI cuts them down to 1, outside."""
    near = at((1.6, 5, 0.9))
    assert hits(near, three_lesions).lesions[0] == 0.9
    false, true, _ = compute_fp_tp_probs(
        near.probability, near.points[:, 1], near.points[:, 0], three_lesions.mask, [2], 5
    )
    assert (false.tolist(), true.tolist()) == ([0.9], [0, 0, 0])
    assert hits(at((59.9, 39.9, 0.9)), three_lesions).false_positives.tolist() == [0.9]


def test_every_tile_above_the_threshold_is_a_detection():
    places = np.array([[0, 0], [512, 0], [0, 512]])
    found = detections_from_tiles(places, 512, np.array([0.5, 0.4, 0.9]), threshold=0.4)
    assert found.points.tolist() == [[256, 256], [256, 768]]
    assert found.probability.tolist() == [0.5, 0.9]


def test_only_local_maxima_with_a_radius():
    """A row of tiles: 0.9 strikes out its neighbours, then 0.6 is the best that is left."""
    places = np.array([[x * 100, 0] for x in range(6)])
    probability = np.array([0.5, 0.9, 0.8, 0.6, 0.6, 0.1])
    found = detections_from_tiles(places, 100, probability, threshold=0.2, radius=100)
    assert found.probability.tolist() == [0.9, 0.6]
    assert found.points[:, 0].tolist() == [150, 350]


def test_maxima_lie_apart_and_near_every_tile():
    generator = np.random.default_rng(0)
    places = np.stack(np.meshgrid(range(30), range(20)), axis=-1).reshape(-1, 2) * 10
    probability = generator.random(600)
    found = detections_from_tiles(places, 10, probability, threshold=0.3, radius=35)
    apart = np.abs(found.points[:, None] - found.points).max(axis=2)
    assert (apart[~np.eye(len(apart), dtype=bool)] > 35).all()
    above = places[probability > 0.3] + 5
    nearest = np.abs(above[:, None] - found.points).max(axis=2).min(axis=1)
    assert (nearest <= 35).all()


def test_no_tile_above_the_threshold():
    found = detections_from_tiles(np.array([[0, 0]]), 10, np.array([0.2]), 0.5, radius=10)
    assert (found.points.shape, found.probability.shape) == ((0, 2), (0,))


@pytest.mark.parametrize("probability", [[1.2], [np.nan], [0.5, 0.5]])
def test_broken_detections_are_refused(probability):
    with pytest.raises(ValueError, match="probabilit"):
        Detections(np.zeros((1, 2)), np.array(probability))


def test_no_slides():
    with pytest.raises(ValueError, match="no slides"):
        froc_curve([])
