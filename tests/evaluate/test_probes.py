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
from medssl.evaluate.retrieval import retrieve

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
