import math

import numpy as np
import pytest

from medssl.evaluate.segmentation import case_scores, dice

CLASSES = ("background", "near", "far")


def volume() -> np.ndarray:
    """Two bars of 8 voxels each, classes 1 and 2, far apart."""
    labels = np.zeros((10, 12, 14), np.uint8)
    labels[1:3, 1:3, 1:3] = 1
    labels[6:8, 6:8, 9:11] = 2
    return labels


def score(prediction, truth, spacing=(1.0, 1.0, 1.0), **more):
    return case_scores(prediction, truth, spacing, CLASSES, tolerance=1.0, **more)


def test_dice_and_jaccard_by_hand():
    prediction = np.array([1, 1, 1, 0, 0], bool)
    truth = np.array([0, 1, 1, 1, 1], bool)
    assert dice(prediction, truth) == pytest.approx(2 * 2 / (3 + 4))
    line = [one.astype(np.uint8).reshape(5, 1, 1) for one in (prediction, truth)]
    assert score(*line)[0].jaccard == pytest.approx(2 / 5)


def test_two_empty_masks_agree_and_one_empty_mask_fails():
    empty, full = np.zeros(4, bool), np.ones(4, bool)
    assert dice(empty, empty) == 1.0
    assert dice(empty, full) == dice(full, empty) == 0.0


def test_masks_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match="shapes"):
        dice(np.ones((4, 1), bool), np.ones((4, 4), bool))
    with pytest.raises(ValueError, match="grid"):
        score(volume(), volume()[:-1])


def test_a_perfect_case():
    for found in score(volume(), volume()):
        assert (found.outcome, found.dice, found.jaccard, found.nsd) == ("found", 1, 1, 1)
        assert (found.hd95, found.asd, found.assd) == (0, 0, 0)


def test_scores_come_in_the_order_of_the_classes_without_background():
    assert [found.name for found in score(volume(), volume())] == ["near", "far"]


def test_shifted_cube_by_hand():
    """A 2-cube shifted by one voxel of 2 mm: half overlaps; half of each surface is 2 mm off."""
    near, far = score(np.roll(volume(), 1, axis=0), volume(), spacing=(2.0, 0.5, 1.0))
    assert (near.dice, near.jaccard) == (pytest.approx(1 / 2), pytest.approx(1 / 3))
    assert (near.hd95, near.asd, near.assd, near.nsd) == (2.0, 1.0, 1.0, 0.5)
    assert near.truth_ml == near.prediction_ml == pytest.approx(8 * 1e-3)
    assert far.dice == near.dice


def test_voxel_distances_ignore_the_spacing_and_are_named_apart():
    prediction, truth = np.roll(volume(), 1, axis=0), volume()
    near, _ = score(prediction, truth, spacing=(2.0, 0.5, 1.0), pooled_voxels=True)
    assert (near.hd95_voxels, near.asd_voxels) == (1.0, 0.5)
    assert near.hd95 == 2.0
    plain, _ = score(prediction, truth)
    assert plain.hd95_voxels is None


def test_an_empty_prediction_is_flagged_and_costs_the_diagonal():
    spacing = (2.0, 0.5, 1.0)
    diagonal = math.hypot(20, 6, 14)
    empty = np.zeros_like(volume())
    for found in score(empty, volume(), spacing, pooled_voxels=True):
        assert (found.outcome, found.dice, found.jaccard, found.nsd) == ("missed", 0, 0, 0)
        assert found.hd95 == found.asd == found.assd == pytest.approx(diagonal)
        assert found.hd95_voxels == pytest.approx(math.hypot(10, 12, 14))


def test_a_class_that_is_not_there_is_a_false_alarm():
    truth = np.where(volume() == 1, 0, volume())
    near, far = score(volume(), truth)
    assert (near.outcome, near.dice, near.truth_ml) == ("false_alarm", 0, 0)
    assert near.hd95 == pytest.approx(math.hypot(10, 12, 14))
    assert far.outcome == "found"


def test_a_class_in_neither_mask_is_right():
    without = np.where(volume() == 2, 0, volume())
    far = score(without, without)[1]
    assert (far.outcome, far.dice, far.nsd, far.hd95) == ("absent", 1, 1, 0)


def test_finding_less_never_looks_better():
    """One missed structure beside a perfect one must not aggregate to a perfect distance."""
    missed = score(np.where(volume() == 2, 0, volume()), volume())
    clumsy = score(np.roll(volume(), 2, axis=1), volume())
    assert np.mean([c.hd95 for c in missed]) > np.mean([c.hd95 for c in clumsy])
    assert min(c.nsd for c in missed) == 0


def test_the_rest_of_the_volume_does_not_matter():
    """Cropping to the class gives what the whole volume gives."""
    prediction, truth = np.roll(volume(), 1, axis=2), volume()
    small = score(prediction[:9, :11, :13], truth[:9, :11, :13])
    assert small == score(prediction, truth)


def test_an_undeclared_class_is_refused():
    with pytest.raises(ValueError, match="class 3"):
        score(np.full_like(volume(), 3), volume())


def test_real_masks_shifted_by_one_voxel(shared_data):
    nibabel = pytest.importorskip("nibabel")
    file = sorted((shared_data / "hippocampus/labelsTr").glob("[!.]*.nii.gz"))[0]
    truth = np.asarray(nibabel.load(file).dataobj).astype(np.uint8)
    for found in score(np.roll(truth, 1, axis=1), truth, pooled_voxels=True):
        assert found.outcome == "found"
        assert 0.7 < found.dice < 0.97
        assert found.jaccard == pytest.approx(found.dice / (2 - found.dice))
        assert found.hd95 == found.hd95_voxels == 1.0
        assert 0 < found.asd < 1
