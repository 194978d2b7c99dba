"""The anatomical embedding: sheet of Alice, sections 8.1 and 8.2, and section 14, nos. 3, 4, 11."""

import re
from math import exp, log

import numpy as np
import pytest
import torch

from medssl.data.geometry import Geometry
from medssl.data.scan.batch import ScanBatch
from medssl.data.scan.matching import match
from medssl.data.scan.matching_settings import MatchingSettings
from medssl.errors import UsageError
from medssl.infer.embed import embed
from medssl.methods.encoder_method import PretrainTask
from medssl.methods.method import Progress
from medssl.methods.pretrain.anatomical_embedding import (
    AnatomicalEmbedding,
    Level,
    Queries,
    draw_crops,
    draw_queries,
    hard_negatives,
    info_nce,
    level_loss,
    other_negatives,
)
from medssl.methods.settings.anatomical_embedding import CoarseLoss, FineLoss, Settings, Views
from medssl.networks.settings import NetworkSettings
from medssl.settings import LoopSettings, OptimiserSettings
from medssl.train.update import make_update

TINY = {"embedder": {"width": 8, "features": 16}, "fine": {"queries": 30}, "coarse": {"queries": 8}}
STILL = Views(rotation=0, scale=(1.0, 1.0), gain=0, offset=0, noise=0)


def build(patch=(32, 32, 32), seed=0, **settings):
    chosen = Settings.model_validate({**TINY, **settings})
    return AnatomicalEmbedding(chosen, PretrainTask(NetworkSettings(), patch, ("ct",), 4), seed)


def scans(source):
    items = len(source)
    return ScanBatch(
        source[:, None],
        None,
        tuple(source.shape[2:]),
        torch.arange(items) + 1,
        torch.zeros(items, 1, dtype=torch.long),
        tuple(f"scan{n}" for n in range(items)),
    )


def test_11_hand_number_of_a_query():
    positive, negatives = torch.ones(1), torch.zeros(1, 2)
    found = info_nce(positive, negatives, 0.5).item()
    assert found == pytest.approx(log(1 + 2 * exp(-2))) == pytest.approx(0.239545, abs=1e-6)
    barred = torch.tensor([[0.0, 0.0, -torch.inf]])
    assert info_nce(positive, barred, 0.5).item() == pytest.approx(found)
    assert info_nce(positive, torch.full((1, 4), -torch.inf), 0.5).item() == 0


def test_correspondences_are_exact():
    """A volume that holds its own coordinates: what a crop shows is where it says it lies."""
    index = torch.stack(torch.meshgrid(*[torch.arange(40.0)] * 3, indexing="ij"))
    weights = torch.tensor([1.0, 50.0, 2500.0])
    volume = (index * weights[:, None, None, None]).sum(0)[None, None].repeat(3, 1, 1, 1, 1)
    plain = Views(rotation=20, gain=0, offset=0, noise=0)
    for crop in draw_crops(volume, plain, (16, 24, 8), torch.Generator().manual_seed(0)):
        places = crop.places((16, 24, 8))
        inside = ((places > 0) & (places < 39)).all(2)
        assert inside.float().mean() > 0.8
        found = crop.image.flatten(1)
        torch.testing.assert_close(
            found[inside], (places * weights).sum(2)[inside], atol=0.05, rtol=1e-6
        )


def test_cells_of_a_crop_lie_in_the_middle_of_their_voxels():
    crop = draw_crops(torch.zeros(1, 1, 32, 32, 32), STILL, (16, 16, 16), torch.Generator())[0]
    voxels = crop.places((16, 16, 16)).view(16, 16, 16, 3)
    cells = crop.places((8, 8, 8)).view(8, 8, 8, 3)
    torch.testing.assert_close(cells[0, 0, 0], voxels[:2, :2, :2].mean((0, 1, 2)))
    torch.testing.assert_close(cells[7, 3, 5], voxels[14:, 6:8, 10:12].mean((0, 1, 2)))


def test_crops_are_never_mirrored_and_most_overlap():
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(200, 1, 48, 48, 48)
    one, other = draw_crops(image, Views(rotation=10), (16, 16, 16), generator)
    for crop in (one, other):
        assert (torch.linalg.det(crop.affine[:, :, :3]) > 0).all()
        assert crop.affine[:, :, :3].diagonal(dim1=1, dim2=2).min() > 0
    shared = (one.affine[..., 3] - other.affine[..., 3]).abs().amax(1) < 16
    near = Views(near=0.0)
    one, other = draw_crops(image, near, (16, 16, 16), generator)
    apart = (one.affine[..., 3] - other.affine[..., 3]).abs().amax(1) < 16
    assert shared.float().mean() > 0.8 > apart.float().mean()


def level(places, seed=0, width=4):
    g = torch.Generator().manual_seed(seed)
    vectors = torch.nn.functional.normalize(
        torch.randn(*places.shape[:2], width, generator=g), dim=2
    )
    return Level(vectors, places, vectors)


def line(*crops):
    """[1, M, 3]: cells of two crops along a line."""
    places = torch.zeros(1, sum(len(c) for c in crops), 3)
    places[0, :, 2] = torch.tensor([x for crop in crops for x in crop], dtype=torch.float)
    return places


def test_a_query_finds_the_nearest_cell_of_the_other_crop_within_the_radius():
    cells = level(line((0, 2, 4, 6), (3.5, 5.5, 7.5, 9.5)))
    settings = FineLoss(queries=4, positive=1.0)
    found = draw_queries(cells, True, settings, torch.Generator())
    pairs = {
        (int(a), int(b))
        for a, b, counts in zip(found.asks[0], found.finds[0], found.counts[0], strict=True)
        if counts
    }
    assert pairs == {(2, 4), (3, 5)}  # 4 -> 3.5 and 6 -> 5.5
    back = draw_queries(cells, False, settings, torch.Generator())
    kept = back.counts[0]
    assert set(zip(back.asks[0][kept].tolist(), back.finds[0][kept].tolist(), strict=True)) == {
        (4, 2), (5, 3),
    }  # fmt: skip
    flat = draw_queries(cells, True, CoarseLoss(positive=1.0, slices=0.4), torch.Generator())
    assert not flat.counts.any()


def test_negatives_lie_beyond_the_exclusion_and_are_the_hardest_of_both_crops():
    cells = level(line((0, 2, 4, 6), (3.5, 5.5, 7.5, 9.5)))
    queries = Queries(torch.tensor([[1]]), torch.tensor([[4]]), torch.tensor([[True]]))
    similar = (cells.vectors[0] @ cells.vectors[0, 1]).tolist()
    allowed = [similar[cell] for cell in (0, 2, 3, 5, 6, 7)]  # 2 itself and 3.5 are too near
    every = FineLoss(exclusion=1.9, hardest=8, negatives=8)
    found = hard_negatives(cells, queries, every, torch.Generator())[0, 0]
    finite = found[found > -torch.inf]
    assert sorted(finite.tolist()) == pytest.approx(sorted(allowed))
    assert len(found) == 8
    hard = FineLoss(exclusion=1.9, hardest=3, negatives=3)
    found = hard_negatives(cells, queries, hard, torch.Generator())[0, 0]
    assert sorted(found.tolist()) == pytest.approx(sorted(allowed)[-3:])
    few = FineLoss(exclusion=1.9, hardest=3, negatives=2)
    found = hard_negatives(cells, queries, few, torch.Generator())[0, 0]
    assert all(min(abs(x - y) for y in sorted(allowed)[-3:]) < 1e-6 for x in found.tolist())


def test_the_hardest_are_ranked_by_both_similarities():
    places = line((0, 10, 20, 30), (40, 50, 60, 70))
    cells = level(places)
    rank = torch.zeros(1, 8, 1)
    rank[0, 0], rank[0, 5] = 1, 5
    queries = Queries(torch.tensor([[0]]), torch.tensor([[4]]), torch.tensor([[True]]))
    ranked = Level(cells.vectors, places, rank)
    found = hard_negatives(ranked, queries, FineLoss(hardest=1, negatives=1), torch.Generator())
    torch.testing.assert_close(found[0, 0, 0], cells.vectors[0, 0] @ cells.vectors[0, 5])


def test_other_volumes_are_coarse_negatives_and_never_the_own():
    places = line((0, 1), (0, 1)).repeat(3, 1, 1)
    vectors = torch.eye(3)[:, None].expand(3, 4, 3)
    found = other_negatives(Level(vectors, places, vectors), vectors[:, :2], 50, torch.Generator())
    assert found.shape == (3, 2, 50)
    assert not found.any()  # the own volume's would be 1
    alone = Level(vectors[:1], places[:1], vectors[:1])
    assert other_negatives(alone, vectors[:1, :2], 50, torch.Generator()).shape == (1, 2, 0)


def test_crops_that_share_nothing_cost_nothing():
    method = build()
    cells = level(line((0, 1), (90, 91)))
    assert level_loss(cells, method.settings.fine, torch.Generator()) == 0


@pytest.mark.parametrize(
    ("window", "size", "nearest"),
    [
        ((32, 32, 32), (40, 32, 32), "views.size=[32, 32, 32]"),
        ((32, 32, 32), (20, 16, 16), "views.size=[16, 16, 16]"),
        ((32, 32, 32), (8, 8, 8), "views.size=[16, 16, 16]"),
        ((8, 8, 8), (8, 8, 8), "patch=[16, 16, 16]"),
        ((40, 40, 12), None, "patch=[40, 40, 16]"),
    ],
)
def test_crops_that_do_not_fit_are_refused_with_what_does(window, size, nearest):
    """A crop lies in its window and has several cells of eight voxels."""
    settings = Settings(views={"size": size})
    with pytest.raises(UsageError, match=re.escape(f"the nearest is {nearest}")):
        settings.must_fit_in(window, "patch", "views.size")


def test_a_crop_is_two_thirds_of_its_window_in_whole_cells():
    assert build((48, 32, 16)).size == (32, 24, 16)


def test_every_parameter_is_trained_and_equal_seeds_train_alike():
    image = torch.randn(2, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    found = []
    for _ in range(2):
        method = build()
        terms = method({"scans": scans(image)}, Progress(1, 10), torch.Generator().manual_seed(0))
        sum(terms.values()).backward()
        found.append(terms)
    assert set(terms) == {"fine", "coarse"}
    assert all(torch.equal(found[0][name], found[1][name]) for name in terms)
    assert all(bool(p.grad.any()) for p in method.parameters() if p.ndim > 1)
    features = method.eval().predictor()(image)
    assert features.shape == (2, 16)


@pytest.mark.parametrize("preset", [None, "paper"])
def test_every_preset_has_the_sheets_numbers(preset):
    if preset is None:
        chosen = Settings()
        assert (chosen.fine.queries, chosen.coarse.queries) == (60, 30)
        assert (chosen.fine.exclusion, chosen.fine.negatives, chosen.fine.hardest) == (4, 300, 900)
        assert (chosen.embedder.width, chosen.embedder.features) == (16, 32)
    else:
        chosen = Settings.preset(preset)
        assert chosen.views.size == (96, 96, 32)
        assert (chosen.fine.queries, chosen.fine.negatives, chosen.fine.hardest) == (100, 500, 2000)
        assert (chosen.fine.positive * 2, chosen.fine.exclusion * 2) == (5, 3)  # mm at 2 mm
        assert (chosen.coarse.negatives, chosen.coarse.hardest, chosen.coarse.others) == (
            200,
            250,
            300,
        )
        assert chosen.coarse.positive * 2 == 25
    assert (chosen.fine.temperature, chosen.coarse.temperature) == (0.5, 0.5)


# Phantoms: a body with a spine, a liver on one side and two kidneys of one intensity.

SIDE = 32
ORGANS = [  # centre and radii in the canonical body, -1 to 1, and intensity
    ((0.0, 0.0, 0.0), (0.85, 0.7, 0.95), 1.0),
    ((0.0, 0.5, 0.0), (0.12, 0.12, 0.9), 3.0),
    ((0.4, -0.1, 0.35), (0.35, 0.4, 0.3), 1.6),
    ((-0.45, -0.2, 0.45), (0.2, 0.25, 0.2), 2.2),
    ((0.42, 0.3, -0.3), (0.16, 0.16, 0.26), 2.0),
    ((-0.42, 0.3, -0.3), (0.16, 0.16, 0.26), 2.0),
]
RIGHT, LEFT = ORGANS[4][0], ORGANS[5][0]


def canonical(number):
    """[3, S, S, S]: psi of a patient, from its voxels to the canonical body."""
    rng = np.random.default_rng([7, number])
    grid = np.indices((SIDE,) * 3) / ((SIDE - 1) / 2) - 1
    scale, shift = rng.uniform(0.95, 1.25, 3), rng.uniform(-0.12, 0.12, 3)
    where = grid * scale[:, None, None, None] + shift[:, None, None, None]
    waves = rng.uniform(-0.22, 0.22, (3, 3))
    bent = np.sin(np.pi * where[[1, 2, 0]])
    return where + np.einsum("ij,jxyz->ixyz", waves, bent)


def phantom(number):
    where = canonical(number)
    rng = np.random.default_rng([8, number])
    image = np.zeros((SIDE,) * 3)
    for centre, radii, value in ORGANS:
        offset = (where - np.array(centre)[:, None, None, None]) / np.array(radii)[
            :, None, None, None
        ]
        image[(offset**2).sum(0) < 1] = value
    return ((image - 1) + 0.1 * rng.normal(size=image.shape)).astype(np.float32)


def trained(steps):
    method = build((SIDE,) * 3, views={"size": (24, 24, 24)})
    optimiser = OptimiserSettings(name="adamw", learning_rate=2e-3, schedule="cosine")
    loop = LoopSettings(steps=steps, optimiser=optimiser)
    update = make_update(method, loop, 0, torch.device("cpu"))
    images = torch.from_numpy(np.stack([phantom(n) for n in range(12)]))[:, None]
    for step in range(1, steps + 1):
        chosen = torch.from_numpy(np.random.default_rng(step).integers(12, size=2))
        update({"scans": scans(images[chosen])}, Progress(step, steps))
    return method.embedder.eval()


@pytest.fixture(scope="module")
def embedder():
    return trained(100)


GRID = Geometry((SIDE,) * 3, np.eye(4))


def true_partners(voxels, one, other):
    """argmin over the voxels of `other` of the distance in the canonical body."""
    wanted = canonical(one)[(slice(None), *voxels.T)].T
    every = canonical(other).reshape(3, -1).T
    nearest = [int(((every - w) ** 2).sum(1).argmin()) for w in wanted]
    return np.stack(np.unravel_index(nearest, (SIDE,) * 3), axis=1)


def in_organs(number, count, rng):
    image = phantom(number)
    places = np.argwhere(image > 0.4)  # organs, not the body between them
    return places[rng.choice(len(places), count, replace=False)]


def box_of(image):
    places = np.argwhere(image > -0.5)
    return places.min(0), places.max(0)


def test_3_known_warp_the_trained_matcher_beats_the_same_voxel_and_the_bounding_box(embedder):
    rng = np.random.default_rng(0)
    errors = {"embedding": [], "same voxel": [], "bounding box": []}
    for one, other in [(20, 21), (22, 23), (24, 25), (26, 27)]:
        voxels = in_organs(one, 25, rng)
        truth = true_partners(voxels, one, other)
        known = [embed(torch.from_numpy(phantom(n)), GRID, embedder) for n in (one, other)]
        points = torch.from_numpy(voxels.astype(float))
        found = match(points, *known, MatchingSettings()).points.numpy()
        (a, b), (c, d) = (box_of(phantom(n)) for n in (one, other))
        boxed = c + (voxels - a) / (b - a) * (d - c)
        for name, answer in zip(errors, (found, voxels, boxed), strict=True):
            errors[name] += np.linalg.norm(answer - truth, axis=1).tolist()
    medians = {name: np.median(values) for name, values in errors.items()}
    assert medians["embedding"] < 0.9 * min(medians["same voxel"], medians["bounding box"])


def same_side(embedder):
    """Share of draws in which a kidney's points match on their own side."""
    right = []
    for one, other in [(20, 21), (22, 23), (24, 25), (26, 27)]:
        known = [embed(torch.from_numpy(phantom(n)), GRID, embedder) for n in (one, other)]
        for kidney in (RIGHT, LEFT):
            where = canonical(one)
            radius = ((where - np.array(kidney)[:, None, None, None]) ** 2).sum(0)
            voxels = np.argwhere(radius < 0.12**2)
            points = torch.from_numpy(voxels.astype(float))
            found = match(points, *known, MatchingSettings()).points.numpy()
            index = np.clip(np.rint(found).astype(int), 0, SIDE - 1)
            side = canonical(other)[(0, *index.T)]
            right += (np.sign(side) == np.sign(kidney[0])).tolist()
    return np.mean(right)


def test_4_the_left_kidney_does_not_match_the_right_one(embedder):
    assert same_side(embedder) > 0.9


class MirrorBlind(torch.nn.Module):
    """What training on mirrored crops ends in: vectors that a mirrored volume has too."""

    def __init__(self, embedder):
        super().__init__()
        self.embedder = embedder
        self.fine_stride, self.coarse_stride = embedder.fine_stride, embedder.coarse_stride

    def forward(self, image):
        both = zip(self.embedder(image), self.embedder(image.flip(2)), strict=True)
        return type(self.embedder(image))(
            *(torch.nn.functional.normalize(a + b.flip(2), dim=1) for a, b in both)
        )


def test_4_an_embedding_that_cannot_tell_left_from_right_fails_that(embedder):
    assert same_side(MirrorBlind(embedder)) < 0.9
