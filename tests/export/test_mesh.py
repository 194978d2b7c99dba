"""Meshes: closed surfaces around the marked voxels, in the patient's coordinates."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from medssl.data.geometry import Geometry
from medssl.export.mesh import surface, write_obj, write_stl
from tests.dicom_series import RAS_TO_LPS

TILTED = np.array([[0.5, 0, 0, 3], [0, 1.25, 0.8, 4], [0, 0, 3, 5], [0, 0, 0, 1]])


def _ball():
    x, y, z = np.indices((20, 14, 10)) - np.array([9, 6, 5])[:, None, None, None]
    return x**2 / 64 + y**2 / 25 + z**2 / 9 <= 1


def _read_stl(path):
    content = path.read_bytes()
    count = int(np.frombuffer(content[80:84], "<u4")[0])
    assert len(content) == 84 + 50 * count
    rows = np.frombuffer(content[84:], np.uint8).reshape(count, 50)
    return np.ascontiguousarray(rows[:, :48]).view("<f4").reshape(count, 4, 3).astype(float)


def _volume(corners):
    return np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6


@pytest.mark.parametrize("tilted", [False, True])
def test_a_surface_lies_where_the_voxels_do(scanner_affine, tmp_path, tilted):
    grid, mask = Geometry((20, 14, 10), TILTED if tilted else scanner_affine), _ball()
    write_stl(mask, grid, tmp_path / "o.stl")
    assert b"SPACE=LPS" in (tmp_path / "o.stl").read_bytes()[:80]
    triangles = _read_stl(tmp_path / "o.stl")
    to_voxels = np.linalg.inv(RAS_TO_LPS @ grid.affine)
    corners = triangles[:, 1:].reshape(-1, 3) @ to_voxels[:3, :3].T + to_voxels[:3, 3]
    # Every corner is halfway between a marked voxel and one that is not.
    assert np.abs(np.abs(corners - np.rint(corners)).sum(axis=1) - 0.5).max() < 1e-3
    apart, _ = cKDTree(np.argwhere(mask)).query(corners)
    assert np.abs(apart - 0.5).max() < 1e-3
    assert _volume(triangles[:, 1:]) == pytest.approx(mask.sum() * grid.voxel, rel=0.12)
    outwards = np.cross(triangles[:, 2] - triangles[:, 1], triangles[:, 3] - triangles[:, 1])
    assert (np.einsum("ij,ij->i", outwards, triangles[:, 0]) > 0).all()


def test_a_surface_is_closed(scanner_affine):
    _, faces = surface(_ball(), Geometry((20, 14, 10), scanner_affine))
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    _, counts = np.unique(np.sort(edges, axis=1), axis=0, return_counts=True)
    assert set(counts) == {2}


def test_obj_and_stl_hold_the_same_surface(scanner_affine, tmp_path):
    grid = Geometry((20, 14, 10), scanner_affine)
    write_stl(_ball(), grid, tmp_path / "o.stl")
    write_obj(_ball(), grid, tmp_path / "o.obj")
    lines = (tmp_path / "o.obj").read_text().splitlines()
    assert lines[0] == "# medssl SPACE=LPS UNIT=mm"
    vertices = np.array([line.split()[1:] for line in lines if line.startswith("v ")], float)
    faces = np.array([line.split()[1:] for line in lines if line.startswith("f ")], int) - 1
    np.testing.assert_allclose(vertices[faces], _read_stl(tmp_path / "o.stl")[:, 1:], atol=1e-4)


def test_a_voxel_at_the_border_has_a_closed_surface_too():
    mask = np.ones((1, 1, 1), bool)
    vertices, faces = surface(mask, Geometry((1, 1, 1), np.eye(4)))
    assert len(vertices) == 6
    assert len(faces) == 8
    np.testing.assert_allclose(np.abs(vertices).sum(axis=1), 0.5)


def test_what_marks_nothing_is_a_file_without_triangles(tmp_path):
    write_stl(np.zeros((3, 3, 3), bool), Geometry((3, 3, 3), np.eye(4)), tmp_path / "o.stl")
    assert len(_read_stl(tmp_path / "o.stl")) == 0
