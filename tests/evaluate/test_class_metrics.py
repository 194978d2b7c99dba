"""Metrics of classification against scikit-learn, torchmetrics and definitions by hand."""

import os
import warnings
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from torch import distributed, multiprocessing
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    multiclass_cohen_kappa,
    multiclass_recall,
)

from medssl.evaluate.class_metrics import (
    AreaUnderRoc,
    AveragePrecision,
    BalancedAccuracy,
    CalibrationError,
    DelongAuroc,
    QuadraticKappa,
)
from medssl.evaluate.delong import delong_interval
from medssl.evaluate.grading import quadratic_kappa
from medssl.evaluate.mask_metrics import (
    Dice,
    Froc,
    HausdorffDistance95,
    NormalisedSurfaceDistance,
    SurfaceDistance,
)
from medssl.evaluate.ranks import average_precisions, roc_areas

CLOSE = 1e-9

OURS = [
    BalancedAccuracy(3),
    QuadraticKappa(3),
    AreaUnderRoc(3),
    AveragePrecision(3),
    DelongAuroc(),
    CalibrationError(),
    Dice(2),
    HausdorffDistance95(2),
    SurfaceDistance(2),
    NormalisedSurfaceDistance(2),
    Froc(),
]


def measured(metric, preds, target):
    metric.update(torch.as_tensor(preds), torch.as_tensor(target))
    return float(metric.compute())


@st.composite
def cases(draw):
    """Probabilities [N, K] and classes [N], with ties, absent classes and constants among them."""
    classes, count = draw(st.integers(2, 5)), draw(st.integers(1, 30))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    truth = generator.integers(draw(st.integers(1, classes)), size=count)
    weights = generator.random((count, classes)) + 1e-3
    step = draw(st.sampled_from([0, 1, 3, 15]))
    if step:  # few values, some of them on edges of bins
        weights = np.round(weights * step) + 1e-9
    if draw(st.booleans()) and count > 1:
        weights[:] = weights[0]
    return weights / weights.sum(axis=1, keepdims=True), truth


@pytest.fixture
def double() -> Iterator[None]:
    """torchmetrics divides in the default type, which is float32."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def complete(truth, classes) -> bool:
    return len(set(truth.tolist())) == classes


@settings(deadline=None, max_examples=150)
@given(cases())
def test_balanced_accuracy_is_scikit_learns(given_cases):
    probability, truth = given_cases
    classes, predicted = probability.shape[1], probability.argmax(axis=1)
    found = measured(BalancedAccuracy(classes), predicted, truth)
    if complete(truth, classes):
        expected = metrics.balanced_accuracy_score(truth, predicted)
        assert found == pytest.approx(expected, abs=CLOSE)
    else:
        assert np.isnan(found)
    present = metrics.recall_score(truth, predicted, labels=np.unique(truth), average="macro")
    found = measured(BalancedAccuracy(classes, present=True), predicted, truth)
    assert found == pytest.approx(present, abs=CLOSE)


@settings(deadline=None, max_examples=150)
@given(cases())
def test_kappa_is_that_of_its_formula_and_scikit_learns(given_cases):
    probability, truth = given_cases
    classes, predicted = probability.shape[1], probability.argmax(axis=1)
    found = measured(QuadraticKappa(classes), predicted, truth)
    assert found == pytest.approx(float(quadratic_kappa(predicted, truth)), abs=CLOSE, nan_ok=True)
    if len({*truth, *predicted}) > 1:
        labels = range(classes)
        expected = metrics.cohen_kappa_score(truth, predicted, weights="quadratic", labels=labels)
        assert found == pytest.approx(expected, abs=CLOSE)
    else:
        assert np.isnan(found)


def ranked(score, probability, truth) -> float:
    """Of the second of two classes, or the mean of each against the others."""
    classes = probability.shape[1]
    if not complete(truth, classes):
        return np.nan
    own = [1] if classes == 2 else range(classes)
    return float(np.mean([score(truth == k, probability[:, k]) for k in own]))


@settings(deadline=None, max_examples=150)
@given(cases())
def test_areas_and_precisions_are_scikit_learns(given_cases):
    probability, truth = given_cases
    for metric, score in (
        (AreaUnderRoc, metrics.roc_auc_score),
        (AveragePrecision, metrics.average_precision_score),
    ):
        found = measured(metric(probability.shape[1]), probability, truth)
        expected = ranked(score, probability, truth)
        assert found == pytest.approx(expected, abs=CLOSE, nan_ok=True), metric


def by_hand(probability, truth, bins=15) -> float:
    """Mean |confidence - accuracy| over bins that are open below and closed above."""
    if probability.shape[1] == 2:
        positive = probability[:, 1]
        called = positive >= 0.5
        confidence = np.maximum(positive, 1 - positive)
    else:
        called, confidence = probability.argmax(axis=1), probability.max(axis=1)
    edges, total = np.linspace(0, 1, bins + 1), 0.0
    for low, high in pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            gap = confidence[inside].mean() - (called == truth)[inside].mean()
            total += abs(gap) * inside.mean()
    return total


@settings(deadline=None, max_examples=150)
@given(cases())
def test_calibration_error_is_that_of_its_definition(given_cases):
    probability, truth = given_cases
    expected = by_hand(probability, truth)
    assert measured(CalibrationError(), probability, truth) == pytest.approx(expected, abs=CLOSE)


@settings(deadline=None, max_examples=100)
@given(cases())
def test_delong_gives_the_area_and_its_interval(given_cases):
    probability, truth = given_cases
    positive = (truth > 0).astype(int)
    metric = DelongAuroc()
    metric.update(torch.as_tensor(probability[:, 0]), torch.as_tensor(positive))
    area, low, high = metric.compute().tolist()
    assert (low, high) == pytest.approx(
        tuple(delong_interval(probability[:, 0], positive == 1)), abs=CLOSE, nan_ok=True
    )
    either = np.stack([1 - probability[:, 0], probability[:, 0]], axis=1)
    expected = ranked(metrics.roc_auc_score, either, positive)
    assert area == pytest.approx(expected, abs=CLOSE, nan_ok=True)


@pytest.mark.usefixtures("double")
def test_bodies_of_resamples_are_torchmetrics_own_to_the_last_digits():
    """With its float32 made float64; a draw has ties as a matter of course."""
    generator = np.random.default_rng(0)
    own, grade = np.arange(80) < 30, np.repeat(np.arange(5), 16)
    for _ in range(20):
        index = np.concatenate([generator.integers(30, size=30), generator.integers(30, 80, 50)])
        values = generator.random(80).round(2)[index][None]
        given_tensors = torch.from_numpy(values[0]), torch.from_numpy(own.astype(int))
        area, precision = binary_auroc(*given_tensors), binary_average_precision(*given_tensors)
        assert roc_areas(values, own)[0] == pytest.approx(float(area), abs=1e-12)
        assert average_precisions(values, own)[0] == pytest.approx(float(precision), abs=1e-12)
        called = np.clip(grade + generator.integers(-1, 2, size=80), 0, 4)
        pair = torch.from_numpy(called), torch.from_numpy(grade)
        kappa = multiclass_cohen_kappa(*pair, 5, weights="quadratic")
        # It counts in float32 whatever the default.
        assert quadratic_kappa(called, grade) == pytest.approx(float(kappa), abs=1e-6)
        assert measured(QuadraticKappa(5), *pair) == pytest.approx(
            float(quadratic_kappa(called, grade)), abs=1e-12
        )
        weighted = float(((called == grade) / 80).sum())
        assert float(multiclass_recall(*pair, 5)) == pytest.approx(weighted, abs=1e-6)
        assert measured(BalancedAccuracy(5), *pair) == pytest.approx(weighted, abs=1e-12)


def test_an_absent_class_is_no_number_where_torchmetrics_says_zero():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert float(binary_auroc(torch.tensor([0.2, 0.6]), torch.tensor([0, 0]))) == 0
    probability, truth = np.array([[0.8, 0.2], [0.4, 0.6]]), np.array([0, 0])
    for metric in (AreaUnderRoc(2), AveragePrecision(2), BalancedAccuracy(2)):
        assert np.isnan(measured(metric, probability, truth))


@pytest.mark.parametrize("metric", OURS, ids=lambda metric: type(metric).__name__)
def test_every_state_joins_over_processes(metric):
    assert metric._reductions
    assert all(metric._reductions.values())
    assert metric.full_state_update is False
    assert isinstance(metric.higher_is_better, bool)


def halves(rank: int | None):
    """What each metric is given, of both processes (None), or of one."""
    generator = np.random.default_rng(3)
    truth = np.tile(np.arange(3), 14)
    probability = generator.dirichlet(np.ones(3), 42)
    masks = generator.integers(2, size=(2, 4, 5, 6, 7))
    for number in range(2) if rank is None else [rank]:
        part = slice(number * 20, (number + 1) * 22)
        p, t = torch.from_numpy(probability[part]), torch.from_numpy(truth[part])
        mask = tuple(torch.from_numpy(masks[:, 2 * number + one]) for one in range(2))
        pairs = [(one[0], one[1]) for one in mask]
        places = [(*pair, (1.0, 2.0, 0.5)) for pair in pairs]
        yield [
            *([(p, t)] for _ in range(4)),
            [(p[:, 1], (t == 1).long())],
            [(p, t)],
            pairs,
            places,
            places,
            places,
            [(p[:5, 0], p[5 : 8 + number, 1])],
        ]


def scores(rank: int | None = None) -> list[list[float]]:
    found = []
    for metric in OURS:
        metric.reset()
    for given_parts in halves(rank):
        for metric, updates in zip(OURS, given_parts, strict=True):
            for one in updates:
                metric.update(*one)
    for metric in OURS:
        found.append(metric.compute().reshape(-1).tolist())
    return found


def process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)  # threads of the parent are not there
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    torch.save(scores(rank), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_find_the_scores_of_one(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=process, args=(rank, str(tmp_path))) for rank in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    expected = scores()
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for metric, one, other in zip(OURS, found, expected, strict=True):
            assert one == pytest.approx(other, abs=1e-12), type(metric).__name__
