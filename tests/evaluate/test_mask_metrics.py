"""Metrics of masks and lesions: means over cases that leave none out."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medssl.evaluate.froc import Hits, froc_curve, froc_score
from medssl.evaluate.mask_metrics import (
    Dice,
    Froc,
    HausdorffDistance95,
    NormalisedSurfaceDistance,
    SurfaceDistance,
)
from medssl.evaluate.segmentation import case_scores, dice

SPACING = (2.0, 1.0, 0.5)
NAMES = ("background", "near", "far")
DISTANCES = [
    (HausdorffDistance95, "hd95"),
    (SurfaceDistance, "assd"),
    (NormalisedSurfaceDistance, "nsd"),
]


def masks(seed: int, highest: int = 3) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(highest, size=(4, 5, 6)))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 99), st.integers(1, 3), st.integers(1, 3)), min_size=1))
def test_dice_is_the_mean_over_cases_and_classes(chosen):
    """Also where a class is in one mask or in none, as with a highest class of 0 or 1."""
    pairs = [(masks(seed, one), masks(seed + 1, other)) for seed, one, other in chosen]
    metric, each = Dice(3), []
    for prediction, truth in pairs:
        metric.update(prediction, truth)
        each += [dice((prediction == k).numpy(), (truth == k).numpy()) for k in (1, 2)]
    assert float(metric.compute()) == pytest.approx(sum(each) / len(each), abs=1e-12)


@pytest.mark.parametrize(("metric", "key"), DISTANCES)
def test_distances_are_those_of_the_scores_of_cases(metric, key):
    measure, each = metric(3, tolerance=1.0), []
    for seed, highest in ((0, 3), (2, 3), (4, 2)):
        pair = masks(seed, highest), masks(seed + 1)
        measure.update(*pair, SPACING)
        found = case_scores(pair[0].numpy(), pair[1].numpy(), SPACING, NAMES, 1.0)
        each += [score.value(key) for score in found]
    assert float(measure.compute()) == pytest.approx(np.mean(each), abs=1e-12)


def test_what_is_missed_is_the_diagonal_away():
    truth = masks(0).clamp(max=1)
    metric = HausdorffDistance95(2)
    metric.update(torch.zeros_like(truth), truth, SPACING)
    assert float(metric.compute()) == pytest.approx(math.hypot(8, 5, 3))


def test_froc_is_the_score_of_all_slides():
    generator = np.random.default_rng(0)
    slides = [Hits(generator.random(count), generator.random(2)) for count in (0, 3, 9)]
    slides.append(Hits(generator.random(2), np.empty(0)))
    metric = Froc()
    for slide in slides:
        metric.update(torch.from_numpy(slide.false_positives), torch.from_numpy(slide.lesions))
    assert float(metric.compute()) == pytest.approx(froc_score(froc_curve(slides)), abs=1e-12)


def test_froc_without_lesions_is_no_number():
    metric = Froc()
    metric.update(torch.tensor([0.5]), torch.empty(0))
    assert math.isnan(float(metric.compute()))
