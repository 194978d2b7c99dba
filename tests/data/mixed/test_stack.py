"""Scans as stacks of square slices: orientation, aspect, air, and the file beside the scan."""

import numpy as np
import pytest

from medssl.data.cache import CachedCase, CaseCache
from medssl.data.geometry import Geometry
from medssl.data.layout_choice import LayoutChoice
from medssl.data.mixed.stack import foreground, square_slices, stack_scan
from medssl.data.spec import Case, DataSpec
from medssl.data.volume import write_volume
from medssl.transforms.chain import Preprocess


@pytest.fixture
def cached(tmp_path) -> CachedCase:
    """A scan of 6 x 4 x 3 voxels of 1, 1.5 and 4 mm."""
    array = np.arange(72, dtype=np.float32).reshape(1, 6, 4, 3)
    geometry = Geometry((6, 4, 3), np.diag([1, 1.5, 4, 1]))
    write_volume(array[0], geometry, tmp_path / "a.nii.gz")
    spec = DataSpec(
        name="toy", title="", modality="MR", channels=("t1",), root="toy", licence="", citation="",
        layout=LayoutChoice(kind="glob"),
    )  # fmt: skip
    case = Case("a", "a", {"t1": tmp_path / "a.nii.gz"})
    return CaseCache(tmp_path / "cache", spec, Preprocess.of({"mr": {"intensity": "none"}})).open(
        case
    )


def test_rows_run_along_y_and_columns_along_x_slice_by_slice():
    volume = np.arange(4 * 4 * 3, dtype=np.float32).reshape(4, 4, 3)
    found = square_slices(volume, (1.0, 1.0), 4)
    assert found.shape == (3, 4, 4)
    assert found[2, 1, 3] == volume[3, 1, 2]


def test_the_longer_side_in_mm_fills_the_slice():
    """6 voxels of 1 mm by 4 of 1.5 mm are square; 8 by 4 of 1 mm fill half of the rows."""
    assert (square_slices(np.ones((6, 4, 1), np.float32), (1.0, 1.5), 8) == 1).all()
    volume = np.ones((8, 4, 1), np.float32)
    volume[0, 0, 0] = -5
    found = square_slices(volume, (1.0, 1.0), 8)[0]
    assert (found[:2] == -5).all()
    assert (found[6:] == -5).all()
    assert (found[3:6] == 1).all()


def test_a_large_scan_is_averaged_not_skipped():
    volume = np.zeros((64, 64, 1), np.float32)
    volume[5::8] = 8.0  # one voxel of eight
    found = square_slices(volume, (1.0, 1.0), 8)
    np.testing.assert_allclose(found, 1.0)


def test_foreground_is_the_share_that_is_no_air():
    volume = np.zeros((10, 10, 3), np.float32)
    volume[:, :, 1] = 100
    volume[:5, :, 2] = 100
    volume[5:, :, 2] = 5
    np.testing.assert_allclose(foreground(volume), [0, 1, 0.5])


def test_a_stack_is_made_once_and_kept_beside_the_scan(cached):
    stack = stack_scan("toy/a/t1", cached, 0, 8)
    assert stack.spacing == pytest.approx(4)
    assert len(stack) == 3
    assert stack.slices.shape == (3, 8, 8)
    assert stack.slices.dtype == np.float16
    stamp = stack.path.stat().st_mtime_ns
    again = stack_scan("toy/a/t1", cached, 0, 8)
    assert again.path.stat().st_mtime_ns == stamp
    assert stack_scan("toy/a/t1", cached, 0, 16).path != stack.path
    assert not list(cached.folder.glob(".part-*"))


def test_a_damaged_stack_is_made_anew(cached):
    path = stack_scan("toy/a/t1", cached, 0, 8).path
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    stack_scan("toy/a/t1", cached, 0, 8)
    assert path.read_bytes() == whole
