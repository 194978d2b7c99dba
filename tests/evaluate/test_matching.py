"""Errors of matching in mm."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from medssl.data.geometry import Geometry
from medssl.data.scan.matched_stream import Scan
from medssl.data.scan.matching import EmbeddedVolume, cell_geometry
from medssl.data.scan.matching_settings import MatchingSettings
from medssl.evaluate.matching import (
    Warp,
    centroid_errors,
    centroids,
    draw_box,
    draw_warp,
    moved,
    moved_errors,
)
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


def test_a_box_keeps_its_share_of_each_side_and_lies_in_the_volume():
    boxes = [draw_box(SHAPE, 0.5, np.random.default_rng(seed)) for seed in range(50)]
    for first, last in boxes:
        assert (last - first + 1).tolist() == [12, 10, 8]
        assert (first >= 0).all()
        assert (last < SHAPE).all()
    assert len({tuple(first) for first, _ in boxes}) > 20
    assert draw_box(SHAPE, 1, np.random.default_rng(0)).tolist() == [[0, 0, 0], [23, 19, 15]]


class Body:
    """A prepared case whose body fills its volume."""

    def __init__(self):
        self.image, self.floor = np.ones((1, *SHAPE)), 0.0
        self.record = SimpleNamespace(network=Geometry(SHAPE, np.eye(4)))


def test_a_cut_view_misleads_the_bounding_box_and_not_an_embedding_of_true_coordinates():
    whole, geometry = np.indices(SHAPE) * 1.0, Geometry(SHAPE, np.eye(4))
    scans = tuple(Scan(f"toy/{n}", f"{n}-0", n, 0, (Body(), 0)) for n in (1, 2))
    target = coordinates(whole, geometry)
    places = np.array([[16.0, 12, 10], [14, 16, 12], [2, 2, 2], [np.nan] * 3])
    start, stop = (8, 8, 8), (24, 20, 16)
    seen = np.array([start, np.array(stop) - 1])
    part = coordinates(whole[:, 8:, 8:, 8:], geometry.cropped(start, stop))
    rest = (MatchingSettings(), np.random.default_rng(0))
    cut = centroid_errors(scans, (part, target), (places, places), seen, *rest)
    full = np.array([[0, 0, 0], np.array(SHAPE) - 1])
    plain = centroid_errors(scans, (target, target), (places, places), full, *rest)
    assert len(cut.embedding) == 2  # of the others one is cut away and one is missing
    assert len(plain.embedding) == 3
    assert cut.embedding.max() <= 3**0.5
    assert plain.bounding_box.max() <= 1
    assert cut.bounding_box.min() > 4


def test_the_picture_has_a_row_per_point():
    volume = np.random.default_rng(0).normal(size=SHAPE)
    places = np.array([[3, 4, 5], [10, 10, 10]])
    one, two = (draw_matches(volume, volume, places[:n], places[:n]) for n in (1, 2))
    assert one[:4] == two[:4] == b"\x89PNG"
    heights = [int.from_bytes(png[20:24], "big") for png in (one, two)]
    assert heights[1] == pytest.approx(2 * heights[0], abs=2)
