"""Metrics of other packages beside those of medssl."""

import csv

import numpy as np
import pytest

from medssl.errors import UsageError
from medssl.evaluate.metric import Metric
from medssl.evaluate.segmentation import case_scores
from medssl.evaluate.settings import EvaluateSettings
from medssl.evaluate.summary import CaseScores, summarise
from medssl.evaluate.table import write_scores

CLASSES = ("background", "near", "far")


def surplus(prediction, truth, spacing):
    """Millilitres too many."""
    return float(int(prediction.sum()) - int(truth.sum())) * np.prod(spacing) / 1000


SURPLUS = Metric("surplus", "Surplus", "ml", measure=surplus)


def scores(metric=SURPLUS):
    """Three voxels too many of the first class, and the second missed with its two voxels."""
    truth = np.zeros((6, 7, 8), np.uint8)
    truth[1, 1, 1:3], truth[4, 4, 4:6] = 1, 2
    prediction = np.zeros_like(truth)
    prediction[1, 1, 1:6] = 1
    return case_scores(prediction, truth, (2.0, 5.0, 10.0), CLASSES, 1.0, further=[metric])


def test_it_is_given_the_whole_masks_of_each_class_and_the_spacing():
    given = []

    def look(prediction, truth, spacing):
        given.append((prediction.shape, prediction.dtype, int(prediction.sum()), int(truth.sum())))
        return spacing[2]

    near, far = scores(Metric("look", "Look", measure=look))
    assert given == [((6, 7, 8), np.dtype(bool), 5, 2), ((6, 7, 8), np.dtype(bool), 0, 2)]
    assert (near.value("look"), far.value("look")) == (10.0, 10.0)


def test_its_numbers_stand_beside_the_others(tmp_path):
    near, far = scores()
    assert (near.value("surplus"), far.value("surplus")) == (pytest.approx(0.3), -0.2)
    assert near.value("dice") == near.dice == pytest.approx(2 * 2 / 7)
    case = CaseScores("a", (near, far))
    write_scores(tmp_path / "scores.csv", [case])
    with (tmp_path / "scores.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0])[-1] == "surplus"
    assert [float(row["surplus"]) for row in rows] == [near.value("surplus"), -0.2]

    means = summarise([case], 100, np.random.default_rng(0), [SURPLUS])
    assert means.metrics[-1] == SURPLUS
    assert means.flat()["surplus"] == pytest.approx((0.3 - 0.2) / 2)
    assert means.flat()["surplus/far"] == -0.2


@pytest.mark.parametrize(
    ("measure", "why"),
    [
        (lambda *_: float("nan"), "ValueError: it gives nan, which is no finite number"),
        (lambda p, t, _: int(t.sum()) / int(p.sum()), "ZeroDivisionError: division by zero"),
        (None, "ValueError: it has no function `measure`"),
    ],
)
def test_a_metric_without_a_number_for_every_mask_is_refused(measure, why):
    with pytest.raises(UsageError, match=rf"the metric 'odd' fails for (near|far); {why}"):
        scores(Metric("odd", "Odd", measure=measure))


def test_settings_without_further_metrics_are_written_as_before():
    """So that evaluations of earlier versions keep their keys."""
    assert EvaluateSettings().model_dump(mode="json") == {
        "tolerance": 1.0,
        "pooled": False,
        "bootstrap": 2000,
        "overlays": 3,
    }
