import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from torchmetrics.functional.classification import multiclass_calibration_error

from medssl.evaluate.calibration import Calibration
from medssl.evaluate.class_metrics import CalibrationError
from medssl.evaluate.classification import (
    SCORES,
    choose_threshold,
    patch_auc,
    predictions,
    score_slides,
)
from medssl.evaluate.ranking import _resampled_precisions
from medssl.evaluate.score import Bootstrap, resamples_within_classes


def two(positive) -> np.ndarray:
    """[S, 2] from the probability of the second class."""
    return np.stack([1 - np.asarray(positive), positive], axis=1)


def calibration(probability, truth, **more) -> Calibration:
    metric = CalibrationError(**more)
    metric.update(torch.from_numpy(probability), torch.from_numpy(truth))
    return metric.diagram()


def scored(probability, truth, **more):
    return score_slides(probability, np.asarray(truth), 200, np.random.default_rng(0), **more)


@pytest.fixture
def binary() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(5)
    truth = (np.arange(80) < 30).astype(np.int64)
    return two(1 / (1 + np.exp(-generator.normal(size=80) - 2 * truth + 1))), truth


@pytest.fixture
def three() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(6)
    truth = generator.integers(3, size=90)
    logits = generator.normal(size=(90, 3)) + 1.5 * np.eye(3)[truth]
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), truth


def test_four_slides_by_hand():
    """At 0.5 both negatives and one of two positives are right; 3 of 4 pairs are in order."""
    found = scored(two([0.1, 0.4, 0.2, 0.8]), [0, 0, 1, 1])
    assert found.accuracy.value == 0.75
    assert found.balanced_accuracy.value == 0.75
    assert found.auc.value == 0.75
    assert found.brier.value == pytest.approx((0.01 + 0.16 + 0.64 + 0.04) / 4)
    assert found.confusion.tolist() == [[2, 0], [1, 1]]
    assert (found.n, found.counts, found.threshold) == (4, (2, 2), 0.5)
    # Confidences 0.9 and 0.6, both right, and 0.8 twice in one bin, once right.
    assert found.ece.value == pytest.approx((0.1 + 0.4 + 2 * 0.3) / 4)


def test_two_classes_agree_with_scikit_learn(binary):
    probability, truth = binary
    found = scored(probability, truth, threshold=0.4)
    predicted = probability[:, 1] >= 0.4
    assert found.accuracy.value == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert found.balanced_accuracy.value == pytest.approx(
        metrics.balanced_accuracy_score(truth, predicted)
    )
    for score in (found.auc, found.auc_bootstrap):
        assert score.value == pytest.approx(metrics.roc_auc_score(truth, probability[:, 1]))
    assert found.average_precision.value == pytest.approx(
        metrics.average_precision_score(truth, probability[:, 1])
    )
    assert found.brier.value == pytest.approx(metrics.brier_score_loss(truth, probability[:, 1]))


def test_several_classes_agree_with_scikit_learn(three):
    probability, truth = three
    found = scored(probability, truth)
    predicted = probability.argmax(axis=1)
    assert found.threshold is None
    assert found.accuracy.value == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert found.balanced_accuracy.value == pytest.approx(
        metrics.balanced_accuracy_score(truth, predicted)
    )
    assert found.auc.value == pytest.approx(
        metrics.roc_auc_score(truth, probability, multi_class="ovr", average="macro")
    )
    assert found.average_precision.value == pytest.approx(
        metrics.average_precision_score(np.eye(3)[truth], probability, average="macro")
    )


@pytest.mark.parametrize("data", ["binary", "three"])
def test_every_interval_holds_its_value(data, request):
    found = scored(*request.getfixturevalue(data))
    for name in set(SCORES) - {"ece"}:
        score = getattr(found, name)
        assert score.low < score.value < score.high, name
        assert score.reason == ""
    assert found.ece.reason


def test_both_intervals_of_the_area_are_alike(binary):
    found = score_slides(*binary, 4000, np.random.default_rng(0))
    assert found.auc.low == pytest.approx(found.auc_bootstrap.low, abs=0.015)
    assert found.auc.high == pytest.approx(found.auc_bootstrap.high, abs=0.015)


def test_resampled_precision_agrees_with_scikit_learn(three):
    """On resamples that repeat slides, so that ties abound."""
    probability, truth = three
    index = next(resamples_within_classes(truth, 20, np.random.default_rng(0)))
    expected = [
        metrics.average_precision_score(np.eye(3)[truth[row]], probability[row]) for row in index
    ]
    drawn = Bootstrap(20, np.random.default_rng(0))
    found = drawn.interval(lambda rows: _resampled_precisions(probability, truth, rows), truth)
    assert found == pytest.approx(tuple(np.quantile(expected, (0.025, 0.975))))


def test_the_bootstrap_draws_within_classes():
    """Two of 1000 slides are positive: resamples that lost both would have no area."""
    truth = (np.arange(1000) < 2).astype(np.int64)
    probability = two(np.random.default_rng(0).random(1000))
    assert np.isfinite(scored(probability, truth).auc_bootstrap.low)


@pytest.mark.parametrize("only", [0, 1])
def test_one_class_alone_has_accuracy_but_no_area(only):
    found = scored(two([0.1, 0.7, 0.9]), [only] * 3)
    assert found.accuracy.value == pytest.approx([1 / 3, 2 / 3][only])
    for score in (found.auc, found.auc_bootstrap, found.average_precision):
        assert np.isnan(score.value)
        assert score.reason == f"no slide of class {1 - only}"
    assert "auc" not in found.flat()
    assert np.isfinite(list(found.flat().values())).all()


def test_perfect_ranking_claims_no_certainty():
    found = scored(two([0.1, 0.2, 0.8, 0.9]), [0, 0, 1, 1])
    assert found.auc.value == 1
    assert np.isnan(found.auc.low)
    assert "perfectly parted" in found.auc.reason


def test_the_generator_decides(three):
    assert scored(*three).flat() == scored(*three).flat()


@pytest.mark.parametrize(
    ("probability", "truth", "message"),
    [
        (two([0.2, 1.2]), [0, 1], "outside"),
        (two([0.2, np.nan]), [0, 1], "outside"),
        (two([0.2, 0.3]), [0, 2], "class"),
        (two([0.2, 0.3]), [0, 1, 1], "2 slides"),
        (np.array([[0.2], [0.3]]), [0, 1], "shape"),
        (np.empty((0, 2)), np.empty(0, np.int64), "shape"),
    ],
)
def test_what_does_not_fit_is_refused(probability, truth, message):
    with pytest.raises(ValueError, match=message):
        scored(probability, truth)


def test_the_threshold_itself_is_positive():
    assert predictions(two([0.49, 0.5])).tolist() == [0, 1]
    assert predictions(np.array([[0.2, 0.5, 0.3], [0.4, 0.3, 0.3]])).tolist() == [1, 0]


def test_threshold_by_hand():
    """0.3 | 0.6 0.7 parts them but for the negative at 0.65; 0.45 is the middle, 0.5 as good."""
    assert choose_threshold(np.array([0.1, 0.3, 0.65, 0.6, 0.7]), np.array([0, 0, 0, 1, 1])) == 0.5
    assert choose_threshold(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0, 0, 1, 1])) == 0.25
    assert choose_threshold(np.array([0.6, 0.7, 0.8, 0.9]), np.array([0, 0, 1, 1])) == 0.75


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=2, max_size=25).filter(
        lambda slides: len({positive for _, positive in slides}) == 2
    )
)
def test_no_threshold_is_better(slides):
    probability = np.array([value / 20 for value, _ in slides])
    truth = np.array([int(positive) for _, positive in slides])

    def balanced(threshold: float) -> float:
        return float(np.mean([(probability >= threshold)[truth == 1].mean(),
                              (probability < threshold)[truth == 0].mean()]))  # fmt: skip

    chosen = choose_threshold(probability, truth)
    best = max(balanced(threshold) for threshold in np.linspace(0, 1.01, 405))
    assert balanced(chosen) == pytest.approx(best)
    assert chosen == 0.5 or balanced(0.5) < best - 1e-12


def test_one_class_chooses_the_middle():
    assert choose_threshold(np.array([0.1, 0.9]), np.array([1, 1])) == 0.5


def test_calibration_by_hand():
    """Two bins: (0, 0.5] is empty, (0.5, 1] holds confidences 0.6, 0.8, 0.9, 0.7, two right."""
    found = calibration(two([0.6, 0.2, 0.9, 0.3]), np.array([1, 1, 1, 1]), bins=2)
    assert found.count.tolist() == [0, 4]
    assert np.isnan(found.accuracy[0])
    assert (found.confidence[1], found.accuracy[1]) == (pytest.approx(0.75), 0.5)
    assert found.error == pytest.approx(0.25)


@pytest.mark.parametrize("data", ["binary", "three"])
def test_calibration_agrees_with_torchmetrics(data, request):
    probability, truth = request.getfixturevalue(data)
    expected = multiclass_calibration_error(
        torch.from_numpy(probability), torch.from_numpy(truth), probability.shape[1], n_bins=15
    )
    assert calibration(probability, truth).error == pytest.approx(float(expected), abs=1e-6)


def test_calibration_at_the_ends():
    """Certain and right has no error; an edge belongs to the bin below it, as in the release."""
    assert calibration(two([1.0, 0.0]), np.array([1, 0])).error == 0
    assert calibration(two([0.6]), np.array([1]), bins=10).count.tolist() == [0] * 5 + [1] + [0] * 4


def test_the_released_calibration_uses_the_chosen_threshold():
    """0.4 reaches 0.3, so the slide is called positive, with confidence 0.6."""
    probability, truth = two([0.4]), np.array([1])
    assert calibration(probability, truth, threshold=0.3).error == pytest.approx(0.4)
    assert calibration(probability, truth).error == pytest.approx(0.6)


def test_tiles_are_pooled_over_slides():
    """Within each slide the order is perfect; between slides one pair of four is wrong."""
    probability = [np.array([0.9, 0.6]), np.array([0.5, 0.1])]
    labels = [np.array([True, False]), np.array([True, False])]
    assert patch_auc(probability, labels).value == 0.75


def test_tiles_of_one_kind_have_no_area():
    found = patch_auc([np.array([0.9, 0.6])], [np.array([False, False])])
    assert np.isnan(found.value)
    assert "without a lesion" in found.reason


def test_tiles_and_labels_must_match():
    with pytest.raises(ValueError, match="tiles"):
        patch_auc([np.array([0.9, 0.6])], [np.array([False])])


def test_models_of_folds_are_drawn_before_slides_within_their_class() -> None:
    """Of two draws of two models half are twice the same one; else slides are equally likely.

    Then all six slides are of one model by chance in 2 * (2/3 * 1/3)^3, and the only slide of class
    1 that the first model has is drawn in a third; of that model alone it always is.
    """
    truth, folds = np.array([0, 0, 1, 1, 0, 1]), np.array([0, 0, 0, 1, 1, 1])
    (index,) = resamples_within_classes(truth, 8000, np.random.default_rng(0), folds)
    assert (truth[index] == np.sort(truth)).all()
    one = (folds[index] == folds[index[:, :1]]).all(axis=1)
    assert one.mean() == pytest.approx(0.5 + 0.5 * 2 * (2 / 9) ** 3, abs=0.02)
    assert (index[:, 3:] == 2).mean() == pytest.approx(0.25 + 0.5 / 3, abs=0.02)


def test_a_class_that_no_drawn_model_has_is_drawn_from_all() -> None:
    truth, folds = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1])
    (index,) = resamples_within_classes(truth, 500, np.random.default_rng(0), folds)
    assert (truth[index] == np.sort(truth)).all()
    assert {0, 1, 2, 3} == set(index.ravel().tolist())
