"""Intensities: numbers by hand, and scans whose values differ by four orders of magnitude."""

import numpy as np
import pytest

from medssl.data.geometry import Geometry
from medssl.data.volume import Volume, read_volume
from medssl.errors import DataError
from medssl.transforms.chain import Preprocess
from medssl.transforms.compose import Preparation
from medssl.transforms.intensity import ZScored


def _treated(array, kind, **keys):
    array = np.asarray(array, np.float32)
    volume = Volume(array[None], Geometry(array.shape, np.eye(4)), "scan.nii")
    word = {"ct": keys} if kind == "ct_window" else {"mr": {"intensity": kind, **keys}}
    return Preparation(Preprocess.of(word))(volume).image[0]


def _ramp(values):
    return np.array(values, np.float32).reshape(-1, 1, 1)


def test_by_hand():
    assert _treated(_ramp([2, 4, 6]), "minmax").ravel().tolist() == [0, 0.5, 1]
    assert _treated(_ramp([2, 4, 6]), "none").ravel().tolist() == [2, 4, 6]
    np.testing.assert_allclose(
        _treated(_ramp([2, 4, 6]), "zscore").ravel(), [-1.224745, 0, 1.224745], atol=1e-6
    )
    window = _treated(_ramp([-1000, -100, 0, 100, 3000]), "ct_window", window=(-100, 100))
    assert window.ravel().tolist() == [0, 0, 0.5, 1, 1]


def test_a_window_may_become_z_scores():
    """nnU-Net's CT: clipped to the window, minus the mean, over the deviation."""
    scan = _ramp([-1000, -100, 0, 50, 100, 3000])
    treated = _treated(scan, "ct_window", window=(-100, 100), zscore=(50, 25))
    np.testing.assert_allclose(treated.ravel(), [-6, -6, -2, 0, 2, 2], atol=1e-6)


def test_a_zscore_of_the_box_leaves_the_margin_out():
    scan = _ramp([0, 0, 2, 4, 6, 0])
    treated = _treated(scan, "zscore_box", crop_foreground=True)
    np.testing.assert_allclose(treated.ravel(), [-1.224745, 0, 1.224745], atol=1e-6)
    whole = _treated(scan, "zscore", crop_foreground=True)
    assert abs(whole.mean()) > 0.5  # the margin counts, and is cut away afterwards


def test_a_zscore_of_the_inside_makes_the_outside_zero():
    treated = _treated(_ramp([0, 2, 0, 4, 6, 0]), "zscore_inside")
    np.testing.assert_allclose(treated.ravel(), [0, -1.224745, 0, 0, 1.224745, 0], atol=1e-6)


def test_robust_zscore_clips_both_tails_and_ignores_the_background():
    tissue = np.random.default_rng(0).normal(100, 10, 20_000)
    scan = _ramp([*np.zeros(50_000), *tissue, *[1e6] * 20])
    low, high = np.percentile(scan[scan > 0], (0.5, 99.5))
    clipped = np.clip(scan[scan > 0], low, high)
    treated = _treated(scan, "robust_zscore")
    assert treated[50_000:].mean() == pytest.approx(0, abs=1e-4)
    assert treated[50_000:].std() == pytest.approx(1, abs=1e-4)
    assert treated.max() == pytest.approx((high - clipped.mean()) / clipped.std(), rel=1e-4)
    assert treated.min() == pytest.approx((low - clipped.mean()) / clipped.std(), rel=1e-4)


@pytest.mark.parametrize("factor", [1e-4, 1, 1e4, 1e6])
def test_robust_zscore_forgets_the_scanners_scale(factor):
    scan = np.random.default_rng(1).gamma(2, 100, (20, 20, 20))
    np.testing.assert_allclose(
        _treated(scan * factor, "robust_zscore"), _treated(scan, "robust_zscore"), atol=1e-3
    )


def test_percentiles_of_a_large_scan_are_taken_from_a_part_of_it():
    """2.1 million voxels; a part that fell in step with the rows of 128 would see one value."""
    scan = np.tile(np.linspace(1, 1000, 128, dtype=np.float32), (128, 128, 1))
    foreground = scan[scan > 1]
    low, high = np.percentile(foreground, (0.5, 99.5))
    clipped = np.clip(foreground, low, high)
    exact = (np.clip(scan, low, high) - clipped.mean()) / clipped.std()
    np.testing.assert_allclose(_treated(scan, "robust_zscore"), exact, atol=0.01)


@pytest.mark.parametrize("kind", ["robust_zscore", "zscore", "minmax"])
@pytest.mark.parametrize("value", [0.0, -1024.0, 1.7e6])
def test_a_constant_scan_becomes_zero(kind, value):
    assert not _treated(np.full((3, 3, 3), value), kind).any()


def test_nearly_constant_foreground_keeps_its_contrast():
    scan = _ramp([*np.zeros(500), *[7.0] * 999, 9.0])
    treated = _treated(scan, "robust_zscore").ravel()
    assert np.isfinite(treated).all()
    assert treated[-1] > treated[-2] > treated[0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_by_file(value):
    with pytest.raises(DataError, match=r"scan.nii holds values that are not finite"):
        _treated(_ramp([0, 1, value]), "robust_zscore")


def test_the_real_hippocampi_become_comparable(shared_data):
    """8-bit files and files of up to 1.7 million, from the same data set."""
    paths = sorted((shared_data / "hippocampus" / "imagesTr").glob("*.nii.gz"))
    scans = [read_volume(path).array[0] for path in paths[:60]]
    assert min(scan.max() for scan in scans) < 256
    assert max(scan.max() for scan in scans) > 1e5
    for scan in scans:
        treated = _treated(scan, "robust_zscore")
        assert abs(treated.mean()) < 0.3
        assert 0.7 < treated.std() < 1.3
        assert np.abs(treated).max() < 8


@pytest.mark.parametrize("clip", [(9, 1), (5, 5), (0, 101), (float("nan"), 99)])
def test_percentiles_rise_between_0_and_100(clip: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="are not two percentiles, the larger one last"):
        ZScored("image", clip=clip)
