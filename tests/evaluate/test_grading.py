"""Scores of graders against scikit-learn, and by hand."""

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import wilcoxon
from sklearn import metrics

from medssl.evaluate.calibration import fit_temperature
from medssl.evaluate.grading import (
    SCORES,
    balanced_accuracy_by_fold,
    balanced_standard_error,
    disease_probability,
    grade_table,
    quadratic_kappa,
    score_grades,
    wilcoxon_greater,
)
from medssl.evaluate.score import Bootstrap, resamples_within_classes


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def knees() -> tuple[np.ndarray, np.ndarray]:
    """160 images of five unequal grades, graded with neighbours confused."""
    generator = rng(5)
    truth = np.repeat(np.arange(5), (60, 30, 40, 20, 10))
    apart = -np.abs(np.arange(5)[None] - truth[:, None])
    logits = apart + generator.normal(size=(160, 5))
    return softmax(logits, axis=1), truth


def scored(probability, truth, resamples=200, **more):
    return score_grades(probability, truth, resamples, rng(), **more)


def test_check_13_scores_agree_with_scikit_learn(knees):
    probability, truth = knees
    predicted = probability.argmax(1)
    found = scored(*knees)
    assert found.balanced_accuracy.value == pytest.approx(
        metrics.balanced_accuracy_score(truth, predicted)
    )
    assert found.kappa.value == pytest.approx(
        metrics.cohen_kappa_score(truth, predicted, weights="quadratic")
    )
    assert found.mse.value == pytest.approx(metrics.mean_squared_error(truth, predicted))
    sick, said = truth >= 2, probability[:, 2:].sum(1)
    assert found.auc.value == pytest.approx(metrics.roc_auc_score(sick, said))
    assert found.average_precision.value == pytest.approx(
        metrics.average_precision_score(sick, said)
    )
    assert found.confusion.tolist() == metrics.confusion_matrix(truth, predicted).tolist()
    assert found.n == 160


def test_check_13_the_disease_score_sums_the_grades_from_2_on():
    probability = np.array([[0.3, 0.2, 0.2, 0.2, 0.1], [0.0, 0.0, 0.4, 0.3, 0.3000001]])
    np.testing.assert_allclose(disease_probability(probability), [0.5, 1])
    np.testing.assert_allclose(disease_probability(probability, 4), [0.1, 0.3000001])


def test_check_13_resamples_keep_the_grades(knees):
    _, truth = knees
    blocks = np.concatenate(list(resamples_within_classes(truth, 50, rng())))
    counts = [np.bincount(truth[row], minlength=5).tolist() for row in blocks]
    assert counts == [[60, 30, 40, 20, 10]] * 50


def test_check_13_the_disease_s_interval_comes_from_resamples_within_grades():
    """Images tie within their grade, so only resampling the grades' sizes could move the area."""
    truth = np.repeat(np.arange(5), 6)
    probability = np.full((30, 5), 0.01)
    probability[:, 0] = 1 - 0.04 - 0.1 * truth
    probability[:, 2] += 0.1 * np.array([2, 0, 1, 3, 4])[truth]
    found = scored(probability / probability.sum(1, keepdims=True), truth)
    assert 0 < found.auc.value < 1
    interval = found.auc_bootstrap.low, found.auc_bootstrap.high
    assert interval == pytest.approx((found.auc.value,) * 2)
    assert found.average_precision.low == pytest.approx(found.average_precision.high)


def test_check_13_wilcoxon_has_a_direction():
    better = np.array([0.62, 0.60, 0.66, 0.61, 0.64, 0.63])
    worse = np.array([0.55, 0.58, 0.57, 0.60, 0.54, 0.59])
    assert wilcoxon_greater(better, worse) == pytest.approx(1 / 64)
    assert wilcoxon_greater(worse, better) == pytest.approx(1.0)
    assert wilcoxon_greater(better, better) == 1


def test_check_13_wilcoxon_drops_zeros():
    one = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    two = np.array([0.0, 0.5, 1.0, 4.0, 5.0])
    found = wilcoxon_greater(one, two)
    assert found == pytest.approx(wilcoxon((one - two)[:3], alternative="greater").pvalue)
    assert found == pytest.approx(1 / 8)


def test_intervals_hold_their_values_and_shrink_with_more_images(knees):
    probability, truth = knees
    few = scored(probability, truth, 400)
    many = scored(np.tile(probability, (4, 1)), np.tile(truth, 4), 400)
    for name in ("balanced_accuracy", "kappa", "mse", "auc", "auc_bootstrap", "average_precision"):
        score, narrow = getattr(few, name), getattr(many, name)
        assert score.low < score.value < score.high
        assert (narrow.high - narrow.low) / (score.high - score.low) == pytest.approx(0.5, abs=0.12)


def test_kappa_by_hand():
    """Two of four wrong by one grade: 1 - 0.5 / 2.5 with these margins."""
    truth, predicted = np.array([0, 1, 2, 3]), np.array([0, 2, 2, 2])
    chance = np.mean([(p - t) ** 2 for p in predicted for t in truth])
    assert quadratic_kappa(predicted, truth) == pytest.approx(1 - 0.5 / chance)
    assert quadratic_kappa(truth, truth) == 1
    assert np.isnan(quadratic_kappa(np.ones(4), np.ones(4)))


def test_kappa_of_many_rows_is_that_of_each(knees):
    probability, truth = knees
    index = next(resamples_within_classes(truth, 20, rng()))
    predicted = probability.argmax(1)
    found = quadratic_kappa(predicted[index], truth[index])
    each = [
        metrics.cohen_kappa_score(truth[row], predicted[row], weights="quadratic") for row in index
    ]
    np.testing.assert_allclose(found, each)


def test_one_grade_for_all_is_chance(knees):
    _, truth = knees
    found = scored(np.eye(5)[np.zeros(160, int)], truth)
    assert found.balanced_accuracy.value == pytest.approx(0.2)
    assert found.kappa.value == pytest.approx(0)
    assert found.auc.value == 0.5


def test_the_class_weighted_standard_error_by_hand():
    """Grades of 2 and 4 images, recalls 1/2 and 1: BA 0.75; sum of weights 2."""
    truth = np.array([0, 0, 1, 1, 1, 1])
    predicted = np.array([0, 1, 1, 1, 1, 1])
    spread = 0.5 * (0.25**2 + 0.75**2) + 0.25 * 4 * 0.25**2
    expected = (spread / (5 * 2)) ** 0.5
    assert balanced_standard_error(predicted, truth) == pytest.approx(expected)
    assert np.isnan(balanced_standard_error(predicted[:1], truth[:1]))


def test_folds_keep_the_shares_of_the_grades(knees):
    probability, truth = knees
    predicted = probability.argmax(1)
    found = balanced_accuracy_by_fold(predicted, truth, 10, rng())
    assert found.shape == (10,)
    assert found.mean() == pytest.approx(
        metrics.balanced_accuracy_score(truth, predicted), abs=0.02
    )
    assert np.array_equal(found, balanced_accuracy_by_fold(predicted, truth, 10, rng()))
    assert not np.array_equal(found, balanced_accuracy_by_fold(predicted, truth, 10, rng(1)))
    with pytest.raises(ValueError, match="a grade has 10 images, fewer than 20 folds"):
        balanced_accuracy_by_fold(predicted, truth, 20, rng())


def test_the_table_of_grades_by_hand():
    truth = np.array([0, 0, 0, 1, 1, 2])
    predicted = np.array([0, 0, 2, 1, 2, 2])
    rows = grade_table(predicted, truth, 4, Bootstrap(500, rng()))
    assert [row.count for row in rows] == [3, 2, 1, 0]
    assert [row.predicted for row in rows] == [2, 1, 3, 0]
    assert [row.recall.value for row in rows[:3]] == pytest.approx([2 / 3, 1 / 2, 1])
    assert [row.precision for row in rows[:3]] == pytest.approx([1, 1, 1 / 3])
    assert [row.f1 for row in rows[:3]] == pytest.approx([0.8, 2 / 3, 0.5])
    assert [row.bias for row in rows[:3]] == pytest.approx([2 / 3, 1 / 2, 0])
    assert rows[0].recall.low < 2 / 3 < rows[0].recall.high
    assert np.isnan(rows[3].recall.value)
    assert rows[3].recall.reason == "no image of grade 3"


def test_a_missing_grade_is_said_and_the_rest_is_scored(knees):
    probability, truth = knees
    found = scored(probability[:150], truth[:150])
    assert np.isnan(found.balanced_accuracy.value)
    assert found.balanced_accuracy.reason.endswith("class 4")
    assert np.isfinite(found.kappa.value)
    assert np.isfinite(found.auc.value)
    assert "balanced_accuracy" not in found.flat()


def test_the_flat_numbers_hold_every_score(knees):
    found = scored(*knees).flat()
    assert set(SCORES) <= set(found)
    assert found["images"] == 160
    assert found["kappa_low"] < found["kappa"] < found["kappa_high"]


def test_what_does_not_fit_is_refused(knees):
    probability, truth = knees
    with pytest.raises(ValueError, match="160 slides"):
        scored(probability, truth[:10])
    with pytest.raises(ValueError, match="lies outside 0"):
        scored(probability, truth + 1)


@pytest.mark.parametrize("scale", [0.4, 1.0, 3.0])
def test_the_temperature_undoes_a_scale(scale):
    generator = rng(1)
    logits = 2 * generator.normal(size=(4000, 5))
    drawn = logits + generator.gumbel(size=logits.shape)
    assert fit_temperature(scale * logits, drawn.argmax(1)) == pytest.approx(scale, rel=0.06)
