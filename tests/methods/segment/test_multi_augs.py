"""MultiAugs: the examples and checks of its sheet (sections 6 and 7), carried over to voxels.

Legend: B items, C channels, K classes, X Y Z voxels.
"""

import math

import numpy as np
import pytest
import torch

from medssl.methods.method import Progress
from medssl.methods.segment.affine_view import draw_matrices, warped
from medssl.methods.segment.anchors import anchors
from medssl.methods.segment.hard_views import Views, box_at, hard_view
from medssl.methods.segment.multi_augs import half_squares, soft_dice
from medssl.methods.settings.multi_augs import Affine, Boxes, Settings
from tests.contract.conftest import build_method, make_streams

PATHS = ["joco", "jccm", "jc", "jo", "co", "cm", "mu", "intensity"]
STILL = {"probability": 0.0}


def easy(items: int = 2, shape: tuple[int, int, int] = (12, 10, 8)) -> Views:
    """Every voxel with a value of its own, and what is said of it the same."""
    count = items * math.prod(shape)
    image = torch.arange(1.0, count + 1).reshape(items, 1, *shape)
    return Views(image, image.clone(), torch.ones(items, 1, *shape))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_loss_of_the_sheet():
    """One joint, 2 x 2: 0.25 of a path, 0.5 of two."""
    found = torch.tensor([[1.0, 0], [0, 0]]).reshape(1, 1, 2, 2, 1)
    target = torch.tensor([[0.0, 0], [0, 1]]).reshape(1, 1, 2, 2, 1)
    assert float(half_squares(found, target, torch.ones_like(found))) == 0.25


def test_the_turn_of_the_sheet():
    """A 1 at row 0, column 1 goes to row 1, column 2."""
    values = torch.zeros(1, 1, 3, 3, 1)
    values[0, 0, 0, 1] = 1
    matrix = torch.tensor([[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]])
    assert warped(values, matrix)[0, 0, :, :, 0].argmax() == 5


def test_turns_are_true_on_patches_that_are_no_cubes():
    """A quarter turn of a long patch about its middle moves a voxel as far as it was."""
    values = torch.zeros(1, 1, 21, 9, 5)
    values[0, 0, 10, 8, 2] = 1
    matrix = torch.tensor([[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]])
    turned = warped(values, matrix)[0, 0]
    assert np.unravel_index(int(turned.argmax()), turned.shape) == (14, 4, 2)
    assert float(turned.max()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("flat", [True, False])
def test_turns_are_within_their_limits_and_scaled_evenly(flat):
    chosen = Affine(probability=1, degrees=50, most_degrees=20, scale=0)
    matrices = draw_matrices(50, flat, chosen, np.random.default_rng(0)).double()
    torch.testing.assert_close(
        matrices @ matrices.transpose(1, 2), torch.eye(3).double().expand(50, 3, 3)
    )
    assert (matrices[:, 2, 2] == 1).all() == flat
    if flat:
        angles = torch.rad2deg(torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0])).abs()
        assert float(angles.max()) == pytest.approx(20, abs=1e-3)
    never = draw_matrices(3, flat, Affine(probability=0), np.random.default_rng(0))
    assert torch.equal(never, torch.eye(3).expand(3, 3, 3))


@pytest.mark.parametrize("path", PATHS)
def test_pasted_tissue_brings_what_is_said_of_it_and_cut_tissue_does_not(path):
    """Image and target are alike, but where the image is cut out: there the target stays."""
    given = easy()
    before = given.copy()
    places = [np.array([[6.0, 5, 4], [2, 2, 2]])] * 2
    view = hard_view(path, given, places, Settings(), generator())
    assert all(torch.equal(a, b) for a, b in zip(given.maps, before.maps, strict=True))
    if path == "intensity":
        assert torch.equal(view.target, given.target)
        assert not torch.equal(view.image, given.image)
        return
    cut = view.image == 0
    assert torch.equal(view.image[~cut], view.target[~cut])
    assert bool(cut.any()) == ("c" in path.replace("cm", ""))
    pasted = not torch.equal(view.target, given.target)
    assert pasted == any(name in path for name in ("jo", "cm", "mu"))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("shape", [(12, 10, 8), (12, 10, 1)])
def test_one_patch_alone_has_nothing_to_paste_from(path, shape):
    given = easy(1, shape)
    view = hard_view(path, given, [np.empty((0, 3))], Settings(), generator())
    assert torch.equal(view.target, given.target)
    assert view.image.isfinite().all()


def test_a_box_without_jitter_holds_its_anchor_and_with_it_three_of_four_do():
    shape, rng = (256, 256, 1), np.random.default_rng(0)
    place = np.array([100.0, 80, 0])
    inside = []
    for _ in range(4000):
        half = np.full(3, rng.integers(10, 20))
        box = box_at(place + rng.normal(0, 10, 3), half, shape)
        inside.append(all(a.start <= p < a.stop for a, p in zip(box, place, strict=True)))
        still = box_at(place, half, shape)
        assert all(a.start <= p < a.stop for a, p in zip(still, place, strict=True))
    assert np.mean(inside) == pytest.approx(0.75, abs=0.03)


def test_boxes_cover_rows_and_columns_evenly():
    """Fails where sides are exchanged, as in the release."""
    chosen = Settings(boxes=Boxes(cut=1, half=(0.04, 0.04)))
    given = Views(*(torch.ones(1, 1, 24, 16, 1) for _ in range(3)))
    covered, g = torch.zeros(24, 16), generator()
    for _ in range(1500):
        view = hard_view("co", given, [np.empty((0, 3))], chosen, g)
        covered += view.image[0, 0, :, :, 0] == 0
    rows, columns = covered.sum(1)[2:-2], covered.sum(0)[2:-2]
    assert float(rows.min() / rows.max()) > 0.5
    assert float(columns.min() / columns.max()) > 0.5


def test_anchors_are_middles_of_parts_and_points_on_boundaries():
    label = np.zeros((9, 9, 5), np.uint8)
    label[1:4, 1:4, 1:4] = 1
    label[6:8, 6:8, 2] = 2
    found = anchors(label, 3, 8, np.random.default_rng(0))
    assert found.shape == (18, 3)
    assert found[0].tolist() == [2, 2, 2]
    assert found[9].tolist() == [6.5, 6.5, 2]
    assert not (found[1:9] == [2, 2, 2]).all(1).any()
    assert len(anchors(np.zeros((4, 4, 1), np.uint8), 3, 8, np.random.default_rng(0))) == 0


def test_a_dice_of_equal_probabilities_is_zero_and_of_others_is_not():
    p = torch.rand(1, 3, 4, 4, 4).softmax(1)
    ones = torch.ones(1, 1, 4, 4, 4)
    assert float(soft_dice(p, p, ones)) == pytest.approx(0, abs=1e-5)
    assert float(soft_dice(p, p.flip(1), ones)) > 0


@pytest.mark.parametrize("patch", [(16, 16, 16), (16, 16, 1)])
def test_all_hard_views_are_turned_alike(patch):
    """Without boxes they are one image; what is outside of the patch is not taught."""
    method = build_method(patch, "multi_augs", paths=["intensity", "intensity"], strong={
        "field": STILL, "linear": STILL}, affine={"probability": 1})  # fmt: skip
    batch = make_streams(patch, method)["unlabelled"].batch(0)
    one, other = method._views(batch, 0, generator())
    assert torch.equal(one.image, other.image)
    assert torch.equal(one.counts, other.counts)
    assert 0.3 < float(one.counts.mean()) < 1


def test_nothing_moves_a_network_that_answers_hard_views_as_easy_ones():
    method = build_method((16, 16, 16), "multi_augs", paths=["intensity"], teacher="self",
                          strong={"field": STILL}, affine=STILL)  # fmt: skip
    streams = make_streams((16, 16, 16), method)
    batches = {kind: stream.batch(0) for kind, stream in streams.items()}
    terms = method(batches, Progress(10, 10), generator())
    assert float(terms["consistency"].detach()) == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize(("teacher", "count"), [("self", 1), ("ema", 1), ("dual", 2)])
def test_no_gradient_reaches_who_answers_the_easy_view(teacher, count):
    method = build_method((16, 16, 16), "multi_augs", teacher=teacher).train()
    streams = make_streams((16, 16, 16), method)
    batches = {kind: stream.batch(0) for kind, stream in streams.items()}
    sum(method(batches, Progress(10, 10), generator(), 0).values()).backward()
    assert method.parts == count
    assert any(bool(p.grad.any()) for p in method.members[0].parameters())
    others = [*method.members[1:], *([method.average] if teacher == "ema" else [])]
    assert all(p.grad is None for one in others for p in one.parameters())


def test_a_gate_that_nothing_passes_leaves_labels_alone():
    method = build_method((16, 16, 16), "multi_augs", gate=1.0)
    streams = make_streams((16, 16, 16), method)
    batches = {kind: stream.batch(0) for kind, stream in streams.items()}
    terms = method(batches, Progress(10, 10), generator())
    assert float(terms["consistency"].detach()) == 0


def test_the_mean_over_paths_weighs_them_together():
    found = {}
    for reduce in ("sum", "mean"):
        method = build_method((16, 16, 16), "multi_augs", reduce=reduce)
        streams = make_streams((16, 16, 16), method)
        batches = {kind: stream.batch(0) for kind, stream in streams.items()}
        terms = method(batches, Progress(10, 10), generator())
        found[reduce] = float(terms["consistency"].detach())
    assert found["sum"] == pytest.approx(2 * found["mean"], rel=1e-5)
