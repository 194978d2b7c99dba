"""The same place in another volume: sheet of Alice, section 14, nos. 1, 2 and 14."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from medssl.data.geometry import Geometry
from medssl.data.scan.matching import EmbeddedVolume, cell_geometry, match
from medssl.data.scan.matching_settings import MatchingSettings
from medssl.infer.embed import embed
from medssl.networks.anatomical_embedding import build_embedder
from medssl.networks.embedder_settings import EmbedderSettings

WHOLE = MatchingSettings(exhaustive=2**20)
SPARSE = MatchingSettings(exhaustive=0)
EVERY = MatchingSettings(exhaustive=0, coarse_cells=10**6)


@pytest.fixture(scope="module")
def embedder():
    return build_embedder(EmbedderSettings(width=8, features=16), 0)


def volume(shape=(37, 40, 33), seed=0):
    """Smooth noise, so that every place looks its own way."""
    g = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, 1, 10, 10, 10, generator=g)
    smooth = torch.nn.functional.interpolate(coarse, size=shape, mode="trilinear")[0, 0]
    return smooth + 0.1 * torch.randn(shape, generator=g)


def grid(shape, spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0)):
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = origin
    return Geometry(shape, affine)


def voxels_to_points(voxels, geometry):
    return torch.from_numpy(voxels @ geometry.affine[:3, :3].T + geometry.affine[:3, 3])


@pytest.mark.parametrize("settings", [WHOLE, SPARSE], ids=["whole", "coarse to fine"])
def test_1_identity_every_point_returns_to_its_own_cell(embedder, settings):
    plain = volume()
    geometry = grid(tuple(plain.shape), (1.5, 1.0, 2.0), (-10.0, 5.0, 3.0))
    known = embed(plain, geometry, embedder)
    voxels = np.random.default_rng(0).integers(0, plain.shape, (200, 3))
    points = voxels_to_points(voxels, geometry)
    found = match(points, known, known, settings)
    torch.testing.assert_close(found.score, torch.ones(200), atol=1e-5, rtol=0)
    assert found.believed.all()
    assert (found.missed == 0).all()
    wrong = (found.points - points).abs() / torch.tensor(geometry.spacing)
    torch.testing.assert_close(wrong, torch.full_like(wrong, 0.5))  # half a voxel, on every axis


def test_2_translation_by_whole_coarse_cells_is_found_exactly(embedder):
    inside = torch.zeros(80, 72, 72)
    inside[28:52, 24:48, 24:48] = volume((24, 24, 24))
    rolled = inside.roll((8, -16, 8), (0, 1, 2))
    geometry = grid((80, 72, 72))
    voxels = np.random.default_rng(0).integers((32, 28, 28), (48, 44, 44), (100, 3))
    points = voxels_to_points(voxels, geometry)
    known = [embed(one, geometry, embedder) for one in (inside, rolled)]
    found = match(points, *known, WHOLE)
    moved = (found.points - match(points, known[0], known[0], WHOLE).points).numpy()
    assert (moved == (8, -16, 8)).mean() > 0.99


@pytest.mark.parametrize("directions", [np.diag([-1, -1, 1]), None], ids=["LPS", "oblique"])
def test_14_axes_a_planted_place_is_found_in_mm_whatever_the_grid(directions):
    """Vectors that mark one place: the search itself keeps one convention, in mm."""
    world = np.array([12.0, -7.0, 21.0])
    if directions is None:
        angle = np.radians(25)
        turn = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
        directions = np.array(turn) @ np.diag([1, -1, 1])
    one = planted(world, np.eye(3) * 1.0, (-20.0, -30.0, 0.0))
    axes = directions * np.array([0.8, 1.3, 3.0])
    other = planted(world, axes, world - axes @ (31.3, 20.2, 15.6))
    for settings in (WHOLE, EVERY):
        found = match(torch.from_numpy(world[None]), one, other, settings)
        away = np.linalg.inv(other.geometry.affine)[:3, :3] @ (found.points[0].numpy() - world)
        assert np.abs(away).max() <= 0.5 + 1e-9  # within the cell
        assert found.believed.all()


def planted(world, axes, origin):
    """A volume of 64 x 56 x 48 voxels; the cell that holds the place has a vector of its own."""
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes, origin
    cells = cell_geometry(Geometry((64, 56, 48), affine), (2, 2, 2))
    fine = torch.zeros(2, *cells.shape)
    fine[0] = 1
    index = np.rint(np.linalg.inv(cells.affine) @ [*world, 1])[:3].astype(int)
    assert ((index >= 0) & (index < cells.shape)).all()
    fine[:, index[0], index[1], index[2]] = torch.tensor([0.0, 1.0])
    coarse = torch.zeros(2, 8, 7, 6)
    coarse[0] = 1
    return EmbeddedVolume(fine, coarse, cells, (4, 4, 4))


def test_cells_cover_their_voxels():
    cells = cell_geometry(grid((9, 8, 7), (1.0, 2.0, 3.0), (10.0, 0.0, 0.0)), (2, 2, 4))
    assert cells.shape == (5, 4, 2)
    np.testing.assert_allclose(cells.affine[:3, 3], (10.5, 1.0, 4.5))
    assert cells.spacing == (2.0, 4.0, 12.0)


def random_volume(seed, shape=(12, 8, 8), ratio=(4, 4, 4)):
    g = torch.Generator().manual_seed(seed)
    coarse = tuple(-(-side // step) for side, step in zip(shape, ratio, strict=True))
    return EmbeddedVolume(
        normalize(torch.randn(5, *shape, generator=g), dim=0),
        normalize(torch.randn(5, *coarse, generator=g), dim=0),
        grid(shape),
        ratio,
    )


def test_the_score_is_the_mean_of_both_similarities():
    one, other = random_volume(0), random_volume(1)
    points = torch.tensor([[3.0, 4.0, 5.0]], dtype=torch.float64)
    found = match(points, one, other, WHOLE)
    x, y, z = found.points[0].long().tolist()
    fine = one.fine[:, 3, 4, 5] @ other.fine[:, x, y, z]
    coarse = (
        one.vectors.view(12, 8, 8, 10)[3, 4, 5, 5:] @ other.vectors.view(12, 8, 8, 10)[x, y, z, 5:]
    )
    torch.testing.assert_close(found.score[0], fine / 2 + coarse)


def test_coarse_to_fine_with_all_coarse_cells_is_the_whole_search():
    one, other = random_volume(0, (13, 9, 7)), random_volume(1, (11, 8, 10))
    points = torch.rand(50, 3, dtype=torch.float64) * 8
    whole, every = match(points, one, other, WHOLE), match(points, one, other, EVERY)
    assert torch.equal(whole.points, every.points)
    torch.testing.assert_close(whole.score, every.score)


def test_points_outside_are_taken_for_the_nearest_cells():
    known = random_volume(0)
    far = torch.tensor([[-50.0, 4.0, 5.0], [3.0, 99.0, 5.0]], dtype=torch.float64)
    found = match(far, known, known, WHOLE)
    assert found.points.tolist() == [[0, 4, 5], [3, 7, 5]]


def test_what_does_not_come_back_or_is_among_the_least_similar_is_not_believed():
    one, other = random_volume(0), random_volume(1)
    points = torch.cartesian_prod(*[torch.arange(0, 8.0, 2)] * 3).double()
    strict, loose = (
        match(points, one, other, MatchingSettings(cycle=cycle)) for cycle in (0.5, 100)
    )
    assert loose.believed.all()
    assert 0 < strict.believed.sum() < len(points)
    assert torch.equal(strict.believed, strict.missed <= 0.5)
    picky = match(points, one, other, MatchingSettings(cycle=100, quantile=0.75))
    assert picky.believed.sum() == len(points) / 4
    least = float(loose.score.median())
    similar = match(points, one, other, MatchingSettings(cycle=100, similarity=least))
    assert torch.equal(similar.believed, loose.score >= least)
    assert 0 < similar.believed.sum() < len(points)
    assert picky.score[picky.believed].min() >= picky.score[~picky.believed].max()
