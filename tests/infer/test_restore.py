"""Restoring: the labels of resampling every class and taking the argmax, on the scan's own grid."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation, binary_erosion

from medssl.data.geometry import Geometry
from medssl.data.record import Record
from medssl.data.resample import linear_axis, taps
from medssl.data.volume import Volume
from medssl.infer.restore import restore_labels, restore_map
from medssl.transforms.chain import Preprocess
from medssl.transforms.compose import Preparation

SHAPE = (16, 12, 6)


def _prepared(affine, mask=None, **keys):
    """A scan with an empty margin, so that a crop would leave some out."""
    array = np.zeros((1, *SHAPE), np.float32)
    array[0, 2:15, 1:10, 1:6] = 1
    grid = Geometry(SHAPE, affine)
    label = None if mask is None else Volume(mask[None], grid, "")
    return Preparation(Preprocess.of({"mr": keys}))(Volume(array, grid, ""), label)


def _record(affine, **keys):
    return _prepared(affine, **keys).record


def _logits(record, classes=4):
    rng = np.random.default_rng(0)
    return rng.standard_normal((classes, *record.network.shape)).astype(np.float32)


def _literal(logits, record):
    """Every class in full, by torch, then the argmax; pasted into the crop."""
    inside = record.turned(np.zeros(record.source.shape, np.uint8))
    full = torch.nn.functional.interpolate(
        torch.from_numpy(logits)[None], size=inside.shape, mode="trilinear", align_corners=False
    )
    labels = np.zeros(record.source.shape, np.uint8)
    record.turned(labels)[...] = full[0].argmax(0).numpy()
    return labels


FINER = {"spacing": (1.0, 1.0, 1.0), "crop_foreground": True}
COARSER = {"spacing": (2.0, 3.0, 4.0)}
AS_IT_IS = {"crop_foreground": True}
SETTINGS = pytest.mark.parametrize("keys", [FINER, COARSER, AS_IT_IS], ids=["fine", "coarse", "as"])


@SETTINGS
def test_labels_are_those_of_resampling_every_class(scanner_affine, keys):
    record = _record(scanner_affine, **keys)
    logits = _logits(record)
    np.testing.assert_array_equal(restore_labels(logits, record), _literal(logits, record))


@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    wanted=st.tuples(*[st.integers(1, 9)] * 3),
    classes=st.integers(1, 5),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=40)
def test_any_two_grids(shape, wanted, classes, seed):
    source = Geometry(wanted, np.eye(4))
    record = _identity(source, source.reshaped(shape))
    logits = np.random.default_rng(seed).standard_normal((classes, *shape)).astype(np.float32)
    full = logits
    for axis in (3, 2, 1):
        full = linear_axis(full, axis, taps(full.shape[axis], wanted[axis - 1]))
    np.testing.assert_array_equal(restore_labels(logits, record), full.argmax(axis=0))


def _identity(source, network):
    return Record(source, network)


def _there_and_back(affine, **keys):
    mask = np.zeros(SHAPE, np.uint8)
    mask[4:12, 3:9, 2:5] = 1
    prepared = _prepared(affine, mask, **keys)
    logits = np.stack([1 - prepared.mask, prepared.mask]).astype(np.float32)
    return mask, restore_labels(logits, prepared.record)


def test_without_resampling_a_mask_comes_back_voxel_for_voxel(scanner_affine):
    np.testing.assert_array_equal(*_there_and_back(scanner_affine, **AS_IT_IS))


def test_a_resampled_mask_comes_back_to_within_a_voxel_of_its_border(scanner_affine):
    mask, back = _there_and_back(scanner_affine, **FINER)
    around = np.ones((3, 3, 3))
    assert back[binary_erosion(mask, around)].all()
    assert not back[~binary_dilation(mask, around)].any()


def test_outside_the_crop_is_background(scanner_affine):
    record = _record(scanner_affine, crop_foreground=True)
    logits = np.zeros((3, *record.network.shape), np.float32)
    logits[2] = 1
    labels = restore_labels(logits, record)
    assert (labels[2:15, 1:10, 1:6] == 2).all()
    assert labels.sum() == 2 * 13 * 9 * 5


def test_of_equal_classes_the_first_wins():
    record = _identity(Geometry(SHAPE, np.eye(4)), Geometry(SHAPE, np.eye(4)))
    logits = np.ones((3, *SHAPE), np.float32)
    logits[0] = 0
    assert (restore_labels(logits, record) == 1).all()


@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_tensors_of_any_precision(scanner_affine, kind):
    record = _record(scanner_affine, **FINER)
    logits = torch.from_numpy(_logits(record)).to(kind).requires_grad_()
    expected = _literal(logits.detach().float().numpy(), record)
    np.testing.assert_array_equal(restore_labels(logits, record), expected)


def test_a_map_keeps_its_places(scanner_affine):
    """A coordinate drawn on the network's grid is the coordinate of the scan's voxels."""
    affine = scanner_affine.copy()
    affine[:3, :3] *= [2.0, 0.8, 0.4]
    record = _record(affine, spacing=(0.8, 0.8, 0.8))
    index = np.indices(record.network.shape).reshape(3, -1)
    drawn = (record.network.affine[2, :3] @ index).reshape(record.network.shape)
    restored = restore_map(torch.from_numpy(drawn), record)
    assert restored.dtype == np.float32
    index = np.indices(SHAPE).reshape(3, -1)
    expected = (record.source.affine[2, :3] @ index).reshape(SHAPE)
    shift = record.network.affine[2, 3] - record.source.affine[2, 3]
    inner = (slice(1, -1),) * 3
    np.testing.assert_allclose((restored + shift)[inner], expected[inner], atol=1e-3)


def test_a_map_is_zero_outside_the_crop(scanner_affine):
    record = _record(scanner_affine, **FINER)
    restored = restore_map(np.ones(record.network.shape, np.float32), record)
    assert restored.sum() == 13 * 9 * 5


def test_logits_of_another_grid_are_refused(scanner_affine):
    record = _record(scanner_affine)
    with pytest.raises(ValueError, match="network grid"):
        restore_labels(np.zeros((2, 3, 3, 3), np.float32), record)
    with pytest.raises(ValueError, match="network grid"):
        restore_map(np.zeros((3, 3, 3), np.float32), record)
