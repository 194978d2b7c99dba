"""Probes against features whose answer is known."""

import numpy as np
import pytest

from medssl.evaluate.probes import (
    few_shot_accuracy,
    gradient_features,
    intensity_features,
    linear_probe,
    masked_error,
    outline_features,
)
from medssl.evaluate.retrieval import retrieve, unit


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def scans(rng, patients=6, each=10, classes=3, width=8):
    """Classes and patients of scans, and features that say nothing of them."""
    patient = np.repeat(np.arange(1, patients + 1), each)
    target = np.tile(np.arange(classes), patients * each)[: patients * each]
    return patient, target, rng.normal(size=(patients * each, width))


def test_a_linear_class_is_read_off(rng):
    patient, target, features = scans(rng)
    features[:, :3] += 6 * np.eye(3)[target]
    assert linear_probe(features, target, patient) == 1


def test_features_without_the_class_give_chance(rng):
    patient, target, features = scans(rng, each=40)
    assert linear_probe(features, target, patient) == pytest.approx(1 / 3, abs=0.1)


def test_what_a_patient_alone_tells_does_not_count(rng):
    """Folds are of patients: a mark of each patient and class cannot be learnt from others."""
    patient, target, _ = scans(rng, patients=5, each=12)
    marks = np.eye(15)[(patient - 1) * 3 + target]
    assert linear_probe(marks, target, patient) < 0.5


def test_scales_of_features_do_not_matter(rng):
    patient, target, features = scans(rng, width=4)
    features[:, 0] += target
    found = linear_probe(features, target, patient)
    assert linear_probe(features * (1e4, 1e-3, 1, 10) + 5, target, patient) == found


@pytest.mark.parametrize("one", ["patient", "class"])
def test_one_patient_or_one_class_cannot_be_probed(rng, one):
    patient, target, features = scans(rng)
    if one == "patient":
        patient = np.ones_like(patient)
    else:
        target = np.zeros_like(target)
    assert np.isnan(linear_probe(features, target, patient))
    assert np.isnan(few_shot_accuracy(features, target, patient, 5, 5, rng))


def test_neighbours_of_other_patients_tell_the_class(rng):
    patient, target, features = scans(rng)
    features[:, :3] += 20 * np.eye(3)[target]
    assert few_shot_accuracy(features, target, patient, 2, 1, rng) == 1


def test_neighbours_of_the_same_patient_are_not_asked(rng):
    """Every patient has its own directions; only its own scans are near, and they are not known."""
    patient, target, _ = scans(rng, patients=5, each=12)
    own = 50 * np.eye(15)[(patient - 1) * 3 + target]
    found = few_shot_accuracy(own, target, patient, 4, 3, np.random.default_rng(0))
    assert found < 0.6


def test_few_shot_accuracy_is_balanced():
    """Six of class 0 and two of class 1, all said to be 0: (1 + 0) / 2."""
    patient = np.array([1, 1, 1, 1, 2, 2, 2, 2])
    target = np.array([0, 0, 0, 1, 0, 0, 0, 1])
    features = np.ones((8, 2))
    features[3], features[7] = (1, 0), (0, 1)  # nearer to the rest than to each other
    found = few_shot_accuracy(features, target, patient, 3, 1, np.random.default_rng(0))
    assert found == pytest.approx(0.5)


def test_draws_come_from_the_generator(rng):
    patient, target, features = scans(rng)
    first, same, other = (
        few_shot_accuracy(features, target, patient, 1, 1, np.random.default_rng(seed))
        for seed in (0, 0, 1)
    )
    assert first == same != other


def test_the_masked_error_is_a_share_of_what_the_mean_leaves():
    """Hidden: 0 and 2, mean 1, which leaves 1 + 1; visible values do not count."""
    image = np.array([0.0, 2.0, 50.0, 70.0]).reshape(1, 1, 1, 4)
    mask = np.array([True, True, False, False]).reshape(1, 1, 1, 4)
    for filled, share in (([0, 2], 0), ([1, 1], 1), ([0, 1], 0.5), ([2, 0], 4)):
        prediction = np.array([*filled, -9.0, -9.0]).reshape(1, 1, 1, 4)
        assert masked_error(image, prediction, mask) == pytest.approx(share)
    assert np.isnan(masked_error(np.ones_like(image), image, mask))
    assert np.isnan(masked_error(image, image, np.zeros_like(mask)))


def test_each_scan_has_its_own_mean():
    """A second scan, 100 brighter, changes nothing where it is filled in by its own mean."""
    image = np.array([[0.0, 2.0], [100.0, 102.0]]).reshape(2, 1, 1, 2)
    mean = np.array([[1.0, 1.0], [101.0, 101.0]]).reshape(2, 1, 1, 2)
    assert masked_error(image, mean, np.ones_like(image, dtype=bool)) == pytest.approx(1)


def test_intensities_compare_by_correlation(rng):
    image = rng.normal(size=(3, 4, 5, 6))
    features = intensity_features(image)
    assert features.shape == (3, 120)
    expected = np.corrcoef(image.reshape(3, -1))
    np.testing.assert_allclose(unit(features) @ unit(features).T, expected, atol=1e-6)
    turned = intensity_features(-2 * image + 7)
    np.testing.assert_allclose((unit(features) * unit(turned)).sum(1), -1, atol=1e-6)


def test_gradients_are_alike_in_all_contrasts(rng):
    """The magnitude of a ramp's gradient by hand, and an inverted scan finds its original."""
    x, y, z = np.indices((4, 4, 4))
    ramp = (3.0 * x + 4.0 * y)[None]
    np.testing.assert_allclose(gradient_features(ramp), 0, atol=1e-5)  # 5 everywhere, centred
    step = np.where(z < 2, 0.0, 1.0)[None]
    by_hand = np.where((z == 1) | (z == 2), 0.5, 0.0)
    np.testing.assert_allclose(
        gradient_features(step)[0], (by_hand - by_hand.mean()).ravel(), atol=1e-6
    )
    image = rng.normal(size=(6, 6, 6, 6))
    dark = 5 - 2 * image
    assert retrieve(gradient_features(image), gradient_features(dark)).top1 == 1
    assert retrieve(intensity_features(image), intensity_features(dark)).top1 == 0


def test_outlines_know_of_the_background_alone(rng):
    """Two contrasts of one outline have equal features; the values inside do not matter."""
    inside = rng.random((4, 5, 5, 5)) < 0.5
    first = np.where(inside, 1 + rng.random(inside.shape), 0)
    second = np.where(inside, 7 + rng.random(inside.shape), -3)
    np.testing.assert_array_equal(outline_features(first), outline_features(second))
    np.testing.assert_allclose(outline_features(first).sum(1), 0, atol=1e-4)
    assert retrieve(outline_features(first), outline_features(second)).top1 == 1
