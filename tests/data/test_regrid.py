"""Channels on other grids: values by hand and by SimpleITK, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from medssl.data.geometry import Geometry
from medssl.data.regrid import regridded
from medssl.data.volume import read_volume, write_volume
from medssl.errors import DataError
from tests.dicom_series import write_series

TURN = np.array([[0.8, -0.6, 0, 2], [0.6, 0.8, 0, -3], [0, 0, 1, 1], [0, 0, 0, 1.0]])


def plane(grid: Geometry) -> np.ndarray:
    """Values that rise evenly through the patient, [1, X, Y, Z]."""
    x, y, z = (
        np.einsum("i,i...->...", row[:3], np.indices(grid.shape)) + row[3]
        for row in grid.affine[:3]
    )
    return (3 * x - 2 * y + 5 * z + 7).astype(np.float32)[None]


@pytest.mark.parametrize(
    "own", [np.diag([1.0, 1, 1, 1]), np.diag([-0.5, 0.5, 2, 1]), np.diag([2.0, 2, 1, 1])]
)
def test_what_rises_evenly_through_the_patient_still_does(own: np.ndarray) -> None:
    """Linear interpolation and smoothing keep it, so that a place missed by half a voxel shows."""
    own = own.copy()
    own[:3, 3] = [24 if own[0, 0] < 0 else -24, -24, -24]
    grid = Geometry(tuple(int(48 / abs(side)) for side in own.diagonal()[:3]), own)
    wanted = Geometry((9, 8, 7), TURN)
    found, share = regridded(plane(grid), grid, wanted, "a", "b")
    assert share == 1
    assert found.shape == (1, 9, 8, 7)
    np.testing.assert_allclose(found, plane(wanted), rtol=1e-4, atol=1e-3)


def test_the_values_are_those_of_simpleitk(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(12, 11, 10)).astype(np.float32)
    grid, wanted = Geometry(values.shape, np.diag([-2.0, 1, 3, 1])), Geometry((8, 7, 6), TURN)
    shifted = wanted.affine.copy()
    shifted[:3, 3] = [-15, 3, 8]
    wanted = Geometry(wanted.shape, shifted)
    write_volume(values, grid, tmp_path / "a.nii.gz")
    write_volume(np.zeros(wanted.shape, np.float32), wanted, tmp_path / "b.nii.gz")
    mine, share = regridded(values[None], grid, wanted, "a", "b")
    moving, fixed = (SimpleITK.ReadImage(str(tmp_path / f"{one}.nii.gz")) for one in "ab")
    theirs = SimpleITK.Resample(moving, fixed, SimpleITK.Transform(), SimpleITK.sitkLinear, -99.0)
    inside = SimpleITK.GetArrayFromImage(theirs).T
    assert 0.9 < share <= 1
    np.testing.assert_allclose(mine[0][inside > -99], inside[inside > -99], atol=1e-4)


def test_a_finer_image_is_averaged_and_not_sampled() -> None:
    noise = np.random.default_rng(0).normal(size=(1, 64, 64, 64)).astype(np.float32)
    grid = Geometry((64, 64, 64), np.diag([0.25, 0.25, 0.25, 1]))
    wanted = grid.reshaped((16, 16, 16))
    found, share = regridded(noise, grid, wanted, "a", "b")
    assert share == 1
    assert found.std() < 0.25  # of 4 x 4 x 4 voxels it would be 1 / 8, sampled nearly 1


def test_beyond_the_image_there_is_its_least_value_and_the_share_is_told() -> None:
    grid = Geometry((10, 10, 10), np.eye(4))
    moved = np.eye(4)
    moved[0, 3] = 4
    values = np.full((1, 10, 10, 10), 8, np.float32)
    values[0, 0] = 2
    found, share = regridded(values, grid, Geometry((10, 10, 10), moved), "a", "b")
    assert share == 0.6
    assert (found[0, :6] == 8).all()
    assert (found[0, 6:] == 2).all()
    moved[0, 3] = 6
    with pytest.raises(DataError, match="a does not show the place of b; it reaches 40%"):
        regridded(values, grid, Geometry((10, 10, 10), moved), "a", "b")


def test_channels_are_resampled_when_that_is_asked_for(tmp_path: Path) -> None:
    fine, coarse = (Geometry((12 * n, 12 * n, 12 * n), np.diag([1 / n, 1 / n, 1 / n, 1]))
                    for n in (2, 1))  # fmt: skip
    for name, grid in (("t1", fine), ("flair", coarse)):
        write_volume(plane(grid)[0], grid, tmp_path / f"{name}.nii.gz")
    files = [tmp_path / "t1.nii.gz", tmp_path / "flair.nii.gz"]
    refused = r"flair.nii.gz does not lie on the grid of .*resample_channels: true.*--set resample"
    with pytest.raises(DataError, match=refused):
        read_volume(files)
    volume = read_volume(files, resample=True)
    assert volume.geometry.matches(fine)
    inner = (slice(2, -2),) * 3
    np.testing.assert_allclose(volume.array[1][inner], volume.array[0][inner], atol=1e-3)
    (remark,) = volume.remarks
    assert remark.startswith("channel 2 was resampled to the grid of the first")
    assert read_volume(files[0], resample=True).remarks == ()


def test_places_of_different_frames_of_reference_are_not_compared(tmp_path: Path) -> None:
    grid = Geometry((8, 8, 8), np.diag([-1.0, -1, 1, 1]))
    coarse = grid.reshaped((4, 4, 8))
    for name, one, frame in (("a", grid, "1.2.3"), ("b", coarse, "1.2.3"), ("c", coarse, "1.2.4")):
        write_series(tmp_path / name, one, FrameOfReferenceUID=frame)
    assert read_volume([tmp_path / "a", tmp_path / "b"], resample=True).array.shape[0] == 2
    with pytest.raises(DataError, match="their frames of reference differ"):
        read_volume([tmp_path / "a", tmp_path / "c"], resample=True)
