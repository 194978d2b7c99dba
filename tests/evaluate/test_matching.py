"""Errors of matching in mm."""

import numpy as np
import pytest
import torch

from medssl.data.geometry import Geometry
from medssl.data.scan.matching import EmbeddedVolume, cell_geometry
from medssl.data.scan.matching_settings import MatchingSettings
from medssl.evaluate.matching import Warp, centroids, draw_warp, moved, moved_errors
from medssl.evaluate.matching_picture import draw_matches

SHAPE = (24, 20, 16)
NONE = Warp(degrees=0, scale=0, deformation=0)


def coordinates(where, geometry, noise=0.0):
    """Vectors by which cells match exactly where they show the same place of the volume."""
    cells = cell_geometry(geometry, (2, 2, 2))
    x, y, z = cells.shape
    seen = where.reshape(3, x, 2, y, 2, z, 2).mean((2, 4, 6))
    angles = torch.from_numpy(seen / 30.0)
    fine = torch.cat([angles.cos(), angles.sin()]) / 3**0.5
    coarse = torch.ones(6, x // 4 + 1, y // 4 + 1, z // 4 + 1) / 6**0.5
    return EmbeddedVolume(fine, coarse, cells, (4, 4, 4))


def test_an_embedding_of_true_coordinates_errs_by_less_than_a_cell():
    geometry = Geometry(SHAPE, np.diag([1.0, 2.0, 3.0, 1.0]))
    where = draw_warp(SHAPE, Warp(degrees=30, deformation=2), np.random.default_rng(0))
    source, target = coordinates(where, geometry), coordinates(np.indices(SHAPE) * 1.0, geometry)
    voxels = np.random.default_rng(1).integers(4, np.array(SHAPE) - 4, (60, 3))
    found = moved_errors(source, target, geometry, where, voxels, MatchingSettings())
    truth = where[(slice(None), *voxels.T)].T
    still = np.linalg.norm((voxels - truth) * (1, 2, 3), axis=1)
    np.testing.assert_allclose(np.sort(found.same_voxel), np.sort(still[_inside(truth)]))
    assert np.median(found.embedding) < np.linalg.norm((1, 2, 3))
    assert np.median(found.embedding) < np.median(found.same_voxel)


def _inside(truth):
    return ((truth >= 0) & (truth <= np.array(SHAPE) - 1)).all(1)


def test_places_that_left_the_volume_are_left_out():
    geometry = Geometry(SHAPE, np.eye(4))
    where = np.indices(SHAPE) + 5.0
    source, target = coordinates(where, geometry), coordinates(np.indices(SHAPE) * 1.0, geometry)
    voxels = np.array([[0, 0, 0], [20, 3, 3], [5, 18, 3], [5, 5, 5]])
    found = moved_errors(source, target, geometry, where, voxels, MatchingSettings())
    np.testing.assert_allclose(found.same_voxel, [75**0.5] * 2)


def test_a_moved_volume_shows_what_the_warp_says():
    volume = np.random.default_rng(0).normal(size=SHAPE)
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(moved(volume, draw_warp(SHAPE, NONE, rng)), volume, atol=1e-6)
    shifted = moved(volume, np.indices(SHAPE) + np.array([2, 0, 1])[:, None, None, None])
    np.testing.assert_allclose(shifted[:-2, :, :-1], volume[2:, :, 1:], atol=1e-6)


def test_a_warp_is_no_larger_than_it_says():
    rng = np.random.default_rng(0)
    bent = draw_warp(SHAPE, Warp(degrees=0, scale=0, deformation=3), rng) - np.indices(SHAPE)
    assert np.abs(bent).max() == pytest.approx(3)
    assert np.abs(np.diff(bent, axis=1)).max() < 1  # and smooth


def test_centroids_of_classes_by_their_values():
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:5, 4, 6], mask[10, 10, 4:8] = 7, 3
    found = centroids(mask, (3, 7, 9))
    np.testing.assert_allclose(found[:2], [[10, 10, 5.5], [3, 4, 6]])
    assert np.isnan(found[2]).all()


def test_the_picture_has_a_row_per_point():
    volume = np.random.default_rng(0).normal(size=SHAPE)
    places = np.array([[3, 4, 5], [10, 10, 10]])
    one, two = (draw_matches(volume, volume, places[:n], places[:n]) for n in (1, 2))
    assert one[:4] == two[:4] == b"\x89PNG"
    heights = [int.from_bytes(png[20:24], "big") for png in (one, two)]
    assert heights[1] == pytest.approx(2 * heights[0], abs=2)
