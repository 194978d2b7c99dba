"""Sliding windows: where they lie, and that their sum does not depend on how it is made."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medssl.errors import UsageError
from medssl.infer.window import sliding_window, sliding_window_slabs, window_starts
from medssl.infer.window_grid import Windows, window_weights

PATCH, STRIDE = (8, 6, 10), (4, 3, 5)
SHAPES = {
    "long first axis": (29, 11, 14),
    "long last axis": (9, 7, 43),
    "one axis short": (30, 4, 12),
    "smaller than the patch": (5, 3, 7),
    "exactly the patch": PATCH,
}
EVERY_SHAPE = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())


def volume(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def network(classes: int = 4) -> nn.Module:
    """Sees beyond a voxel, so that the windows of a voxel disagree."""
    torch.manual_seed(5)
    return nn.Conv3d(1, classes, 3, padding=1)


def weighted_mean(image: Tensor, predictor: nn.Module, weights: Tensor) -> Tensor:
    """The definition, window by window in double precision; no axis shorter than the patch."""
    total, gathered = torch.zeros(1), torch.zeros(image.shape[1:], dtype=torch.float64)
    starts = map(window_starts, image.shape[1:], PATCH, STRIDE)
    for corner in product(*starts):
        where = tuple(slice(low, low + side) for low, side in zip(corner, PATCH, strict=True))
        with torch.no_grad():
            logits = predictor(image[(slice(None), *where)][None])[0].double()
        if total.ndim == 1:
            total = torch.zeros((len(logits), *image.shape[1:]), dtype=torch.float64)
        total[(slice(None), *where)] += logits * weights
        gathered[where] += weights
    return total / gathered


def test_starts_are_the_multiples_of_the_stride_and_the_end():
    # Left atrium, 112 voxels and stride 18: a fractional overlap would round to 17.
    assert window_starts(176, 112, 18) == [0, 18, 36, 54, 64]
    assert window_starts(148, 112, 18) == [0, 18, 36]
    assert window_starts(96, 80, 4) == [0, 4, 8, 12, 16]


def test_an_axis_no_longer_than_the_patch_has_one_window():
    assert window_starts(80, 112, 18) == window_starts(112, 112, 18) == [0]


@pytest.mark.parametrize("stride", [0, 9])
def test_a_stride_that_leaves_gaps_is_refused(stride):
    with pytest.raises(UsageError, match="from 1 to 8"):
        window_starts(20, 8, stride)


def test_windows_follow_the_axis_that_holds_most_patches():
    # 40 voxels hold two patches of 20; 30 voxels hold three of 10.
    windows = Windows((40, 30, 10), (20, 10, 10), (10, 5, 5))
    assert windows.axis == 1
    along = [corner[1] for corner in windows.corners()]
    assert along == sorted(along)
    assert len(along) == 3 * 5 * 1


def test_gaussian_weights_fall_from_the_middle_to_the_floor():
    weights = window_weights((5, 5, 5), "gaussian")
    assert weights[2, 2, 2] == 1
    # One voxel off the middle, standard deviation 5/8 voxels: exp(-(8/5)^2 / 2).
    assert weights[1, 2, 2] == pytest.approx(np.exp(-1.28))
    assert weights[0, 0, 0] == pytest.approx(1e-3)
    assert torch.equal(weights, weights.flip(0, 1, 2))


@EVERY_SHAPE
@pytest.mark.parametrize("weighting", ["gaussian", "constant"])
def test_the_identity_returns_its_input(shape, weighting):
    image = volume(2, *shape)
    result = sliding_window(image, lambda windows: windows, PATCH, STRIDE, weighting=weighting)
    assert result.shape == image.shape
    torch.testing.assert_close(result, image, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("weighting", ["gaussian", "constant"])
@pytest.mark.parametrize("shape", [(29, 11, 14), (9, 7, 43)])
def test_overlapping_windows_are_averaged_by_weight(shape, weighting):
    image, predictor = volume(1, *shape), network()
    expected = weighted_mean(image, predictor, window_weights(PATCH, weighting).double())
    result = sliding_window(image, predictor, PATCH, STRIDE, weighting=weighting)
    torch.testing.assert_close(result.double(), expected, rtol=0, atol=1e-5)


@EVERY_SHAPE
def test_slabs_cover_the_volume_once_with_the_same_logits(shape):
    image, predictor = volume(1, *shape), network()
    whole = sliding_window(image, predictor, PATCH, STRIDE)
    rebuilt, covered = torch.full_like(whole, torch.nan), torch.zeros(shape)
    for where, logits in sliding_window_slabs(image, predictor, PATCH, STRIDE):
        rebuilt[(slice(None), *where)] = logits
        covered[where] += 1
    assert torch.equal(rebuilt, whole)
    assert torch.equal(covered, torch.ones(shape))


@pytest.mark.parametrize("window_batch", [1, 2, 3, 5, 1000])
def test_any_number_of_windows_per_call_gives_the_same(window_batch):
    image = volume(1, 29, 11, 14)

    def predictor(windows: Tensor) -> Tensor:  # elementwise: equal bits for any batch
        return torch.cat([windows, windows.sin() - windows.mean((2, 3, 4), keepdim=True)], dim=1)

    default = sliding_window(image, predictor, PATCH, STRIDE)
    result = sliding_window(image, predictor, PATCH, STRIDE, window_batch=window_batch)
    assert torch.equal(result, default)


def test_no_call_gets_more_windows_than_asked_for_and_none_is_left_over():
    sizes = []

    def predictor(windows: Tensor) -> Tensor:
        sizes.append(len(windows))
        return windows

    sliding_window(volume(1, 28, 6, 10), predictor, PATCH, STRIDE, window_batch=5)
    assert sizes == [3, 3]  # 0, 4, ..., 20: six windows


def test_streaming_holds_no_more_than_a_patch_of_planes_however_long_the_volume():
    slabs = sliding_window_slabs(volume(1, 200, 6, 10), network(classes=4), PATCH, STRIDE)
    held = {logits.untyped_storage().nbytes() for _, logits in slabs}
    assert held == {4 * 4 * 8 * 6 * 10}  # 4 bytes, 4 classes, one patch


def test_a_small_volume_is_surrounded_evenly():
    seen = []

    def predictor(windows: Tensor) -> Tensor:
        seen.append(windows[0, 0, :, 3, 5])
        return windows

    sliding_window(torch.ones(1, 3, 6, 10), predictor, PATCH, STRIDE, outside=-7.0)
    assert seen[0].tolist() == [-7, -7, 1, 1, 1, -7, -7, -7]


def test_a_memory_mapped_half_precision_image_is_read_window_by_window(tmp_path: Path):
    image = volume(1, 29, 11, 14).half()
    np.save(tmp_path / "image.npy", image.numpy())
    mapped = np.load(tmp_path / "image.npy", mmap_mode="r")
    result = sliding_window(mapped, network(), PATCH, STRIDE)
    assert torch.equal(result, sliding_window(image.float(), network(), PATCH, STRIDE))


def test_the_image_and_gradients_are_left_alone():
    image, predictor = volume(1, 20, 9, 12), network()
    before = image.clone()
    assert not sliding_window(image, predictor, PATCH, STRIDE).requires_grad
    sliding_window(image, lambda windows: windows, PATCH, STRIDE)
    assert torch.equal(image, before)


def test_a_network_that_changes_the_window_is_refused():
    with pytest.raises(UsageError, match="keep its size"):
        sliding_window(volume(1, 20, 9, 12), nn.Conv3d(1, 2, 3), PATCH, STRIDE)


def test_monai_gives_the_same_logits_and_labels():
    """Imports MONAI, which takes seconds; the only one here that does."""
    from monai.inferers import sliding_window_inference

    image, predictor = volume(1, 29, 11, 14), network()
    for weighting in ("gaussian", "constant"):
        with torch.no_grad():
            # Even sides: half the patch is MONAI's own stride, without rounding.
            theirs = sliding_window_inference(
                image[None], PATCH, 4, predictor, overlap=0.5, mode=weighting
            )[0]
        ours = sliding_window(image, predictor, PATCH, STRIDE, weighting=weighting)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
        assert torch.equal(ours.argmax(0), theirs.argmax(0))
