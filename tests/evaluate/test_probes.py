"""Probes of frozen features, and what scans tell without learning."""

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

RNG = np.random.default_rng(0)
PATIENT = np.repeat(np.arange(6), 20)
TARGET = np.tile([0, 1], 60)


def test_what_is_in_the_features_is_read_off_on_unseen_patients():
    told = RNG.normal(size=(120, 8)) + 3 * TARGET[:, None]
    noise = RNG.normal(size=(120, 8))
    assert linear_probe(told, TARGET, PATIENT) > 0.95
    assert 0.3 < linear_probe(noise, TARGET, PATIENT) < 0.7


def test_a_probe_does_not_learn_the_patient_by_heart():
    """Features that name the patient tell the class within a patient, and of no other."""
    features = np.eye(6)[PATIENT]
    assert linear_probe(features, PATIENT % 2, PATIENT) <= 0.5


def test_one_patient_or_one_class_gives_no_number():
    features = RNG.normal(size=(120, 3))
    one = np.zeros(120, int)
    for probe in (
        lambda target, patient: linear_probe(features, target, patient),
        lambda target, patient: few_shot_accuracy(
            features, target, patient, 3, 3, np.random.default_rng(0)
        ),
    ):
        assert np.isnan(probe(TARGET, one))
        assert np.isnan(probe(one, PATIENT))


def test_few_neighbours_of_other_patients_tell_the_class():
    told = np.eye(2)[TARGET] + 0.05 * RNG.normal(size=(120, 2))
    noise = RNG.normal(size=(120, 2))

    def ask(features):
        return few_shot_accuracy(features, TARGET, PATIENT, 4, 3, np.random.default_rng(1))

    assert ask(told) == 1
    assert 0.3 < ask(noise) < 0.7


def test_the_error_is_a_share_of_what_the_mean_leaves():
    image = RNG.normal(size=(2, 4, 4, 4)) + np.array([0, 5])[:, None, None, None]
    mask = RNG.random(image.shape) < 0.5
    means = np.stack(
        [np.full(one.shape, one[m].mean()) for one, m in zip(image, mask, strict=True)]
    )
    assert masked_error(image, means, mask) == pytest.approx(1)
    assert masked_error(image, image, mask) == 0
    wrong_where_seen = np.where(mask, image, 100)
    assert masked_error(image, wrong_where_seen, mask) == 0
    assert np.isnan(masked_error(np.ones_like(image), image, mask))


def test_edges_survive_a_change_of_contrast_where_intensities_do_not():
    """A second contrast that turns bright into dark: gradients are equal, intensities opposite."""
    scans = RNG.random((5, 6, 6, 6)) + 0.1
    inverted = 2 - scans
    assert retrieve(gradient_features(scans), gradient_features(inverted)).top1 == 1
    assert retrieve(intensity_features(scans), intensity_features(inverted)).top1 == 0


def test_the_outline_is_where_a_scan_is_above_its_minimum():
    scan = np.zeros((1, 2, 2, 2))
    scan[0, 0] = [[3, 4], [0, 9]]
    found = outline_features(scan)
    assert sorted(np.unique(found).tolist()) == pytest.approx([-3 / 8, 5 / 8])
    assert (found[0] > 0).sum() == 3


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def scans(rng, patients=6, each=10, classes=3, width=8):
    """Classes and patients of scans, and features that say nothing of them."""
    patient = np.repeat(np.arange(1, patients + 1), each)
    target = np.tile(np.arange(classes), patients * each)[: patients * each]
    return patient, target, rng.normal(size=(patients * each, width))


def test_scales_of_features_do_not_matter(rng):
    patient, target, features = scans(rng, width=4)
    features[:, 0] += target
    found = linear_probe(features, target, patient)
    assert linear_probe(features * (1e4, 1e-3, 1, 10) + 5, target, patient) == found


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


def test_the_masked_error_of_hand_examples():
    """Hidden: 0 and 2, mean 1, which leaves 1 + 1; visible values do not count."""
    image = np.array([0.0, 2.0, 50.0, 70.0]).reshape(1, 1, 1, 4)
    mask = np.array([True, True, False, False]).reshape(1, 1, 1, 4)
    for filled, share in (([0, 2], 0), ([1, 1], 1), ([0, 1], 0.5), ([2, 0], 4)):
        prediction = np.array([*filled, -9.0, -9.0]).reshape(1, 1, 1, 4)
        assert masked_error(image, prediction, mask) == pytest.approx(share)
    assert np.isnan(masked_error(np.ones_like(image), image, mask))
    assert np.isnan(masked_error(image, image, np.zeros_like(mask)))


def test_intensities_compare_by_correlation(rng):
    image = rng.normal(size=(3, 4, 5, 6))
    features = intensity_features(image)
    assert features.shape == (3, 120)
    expected = np.corrcoef(image.reshape(3, -1))
    np.testing.assert_allclose(unit(features) @ unit(features).T, expected, atol=1e-6)
    turned = intensity_features(-2 * image + 7)
    np.testing.assert_allclose((unit(features) * unit(turned)).sum(1), -1, atol=1e-6)


def test_gradients_of_hand_examples():
    """A ramp has one magnitude, 5; a step of 1 has 0.5 on both sides."""
    x, y, z = np.indices((4, 4, 4))
    ramp = (3.0 * x + 4.0 * y)[None]
    np.testing.assert_allclose(gradient_features(ramp), 0, atol=1e-5)  # 5 everywhere, centred
    step = np.where(z < 2, 0.0, 1.0)[None]
    by_hand = np.where((z == 1) | (z == 2), 0.5, 0.0)
    np.testing.assert_allclose(
        gradient_features(step)[0], (by_hand - by_hand.mean()).ravel(), atol=1e-6
    )
