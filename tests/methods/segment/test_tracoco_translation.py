"""Consistency of two overlapping views (sheet 2, 5.2 and 13.1; properties 4 to 9)."""

import math

import pytest
import torch
from torch import Tensor, nn

from medssl.data.patches import overlap_boxes
from medssl.methods.segment.tracoco import negative_entropy, translation_kl

RELEASED_CLAMP = (1e-6, 1.0)
AXES = ["class", "x"]


def tensor(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def logits(seed: int, classes: int = 2) -> Tensor:
    """[K, 5, 4, 3]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(classes, 5, 4, 3, generator=generator, dtype=torch.float64)


@pytest.fixture
def consistency(build):
    """A method whose only unsupervised terms are KL and N, each with weight 1."""

    def make(network: nn.Module | None = None, **translation):
        identity = isinstance(network, nn.Identity)
        return build(
            "tracoco",
            network=network,
            channels=2 if identity else 1,
            noise={"amplitude": 0},
            pseudo={"kind": "none"},
            translation={"weight": 1.0, **translation},
            entropy={"weight": 1.0},
            unsupervised={"weight": 1.0, "rampup_steps": 1},
        )

    return make


# Hand-computed numbers: [K=2, x=2, 1, 1]; class 0 = [0.5, 0.5] in both views.
VIEW_A = tensor([[0.5, 0.5], [0.2, 0.8]]).reshape(2, 2, 1, 1)
VIEW_B = tensor([[0.5, 0.5], [0.6, 0.4]]).reshape(2, 2, 1, 1)


@pytest.mark.parametrize("clamp", [None, RELEASED_CLAMP])
@pytest.mark.parametrize(("axis", "expected"), [("class", 0.009975130), ("x", 0.019804070)])
def test_kl_by_hand(axis, expected, clamp):
    a, b = (view if clamp is None else view.clamp(*clamp) for view in (VIEW_A, VIEW_B))
    assert float(translation_kl(a, b, axis)) == pytest.approx(expected, abs=5e-10)


def test_kl_runs_from_shifted_to_reference():
    """Sum of P_b ln(P_b / P_a), spelled out; the other direction is another number."""
    p_a, p_b = VIEW_A.softmax(0), VIEW_B.softmax(0)
    expected = float((p_b * (p_b / p_a).log()).mean())
    assert float(translation_kl(VIEW_A, VIEW_B, "class")) == pytest.approx(expected, rel=1e-12)
    assert float(translation_kl(VIEW_B, VIEW_A, "class")) != pytest.approx(expected, rel=1e-3)


def test_entropy_by_hand():
    found = [float(negative_entropy(view)) for view in (VIEW_A, VIEW_B)]
    assert found == pytest.approx([-0.682022489, -0.691898741], abs=5e-10)
    assert sum(found) / 2 == pytest.approx(-0.686960615, abs=5e-10)


def test_entropy_term_is_the_mean_over_both_views_of_every_item(consistency, batches, terms):
    method = consistency(nn.Identity())
    given = batches(channels=2, starts=[[0, 0, 0], [0, 0, 0]])
    for batch in given.values():
        batch.image[:, 0] = VIEW_A.repeat(1, 4, 8, 8)
        batch.image[:, 1] = VIEW_B.repeat(1, 4, 8, 8)
    found = terms(method, given, parts=[0])
    assert float(found["entropy_1"]) == pytest.approx(-0.686960615, abs=5e-10)
    # KL is the sum over the four items, not their mean.
    assert float(found["translation_1"]) == pytest.approx(4 * 0.009975130, abs=2e-9)


def test_bounds_of_the_entropy_of_clamped_logits():
    """Quirk 3: between -ln 2 and -0.5822, so weight 0.1 moves the loss by at most 0.011."""
    uniform, extreme = torch.zeros(2, 1, 1, 1).double(), tensor(RELEASED_CLAMP).reshape(2, 1, 1, 1)
    low, high = float(negative_entropy(uniform)), float(negative_entropy(extreme))
    assert low == pytest.approx(-0.693147181, abs=5e-10)
    assert high == pytest.approx(-0.582203, abs=5e-7)
    assert 0.1 * (high - low) == pytest.approx(0.0111, abs=5e-5)
    wild = (100 * logits(0)).clamp(*RELEASED_CLAMP)
    assert low <= float(negative_entropy(wild)) <= high


def test_largest_kl_of_clamped_logits():
    extreme = tensor(RELEASED_CLAMP).reshape(2, 1, 1, 1)
    largest = float(translation_kl(extreme, extreme.flip(0), "class"))
    assert largest == pytest.approx(0.231058151, abs=5e-10)


def test_clamped_binary_probabilities_stay_between_0269_and_0731():
    """Quirk 2."""
    extreme = tensor(RELEASED_CLAMP)
    assert extreme.softmax(0).tolist() == pytest.approx([0.269, 0.731], abs=5e-4)


@pytest.mark.parametrize("clamp", [None, RELEASED_CLAMP])
@pytest.mark.parametrize("axis", AXES)
def test_same_view_costs_nothing_when_predicting(consistency, batches, terms, axis, clamp):
    """Property 4: zero displacement, no noise, no dropout."""
    method = consistency(axis=axis, logit_clamp=clamp).eval()
    given = batches(starts=[[0, 0, 0], [0, 0, 0]])
    for batch in given.values():
        batch.image[:, 1] = batch.image[:, 0]
    assert abs(terms(method, given, parts=[0])["translation_1"].item()) < 1e-7


def test_dropout_makes_the_same_view_cost_something(build, batches, terms):
    method = build("tracoco", dropout=0.5, noise={"amplitude": 0})
    given = batches(starts=[[0, 0, 0], [0, 0, 0]])
    for batch in given.values():
        batch.image[:, 1] = batch.image[:, 0]
    assert terms(method, given, parts=[0])["translation_1"].item() > 1e-9


STARTS = [[2, 1, 3], [0, 0, 0]], [[0, 5, 1], [3, 0, 4]], [[6, 6, 6], [0, 0, 0]]


def views_of_one_volume(given, starts):
    """Make both views crops of one random volume per item."""
    volume = torch.randn(4, 1, 16, 16, 16, generator=torch.Generator().manual_seed(7))
    for row, batch in enumerate(given.values()):
        for view, (x, y, z) in enumerate(starts):
            crop = volume[2 * row : 2 * row + 2, :, x : x + 8, y : y + 8, z : z + 8]
            batch.image[:, view] = crop.double()
    return given


@pytest.mark.parametrize("starts", STARTS)
@pytest.mark.parametrize("axis", AXES)
def test_a_network_without_context_agrees_under_any_displacement(
    consistency, batches, terms, axis, starts
):
    """Property 5: so the slices are aligned; exchanged starts are noticed."""
    method = consistency(nn.Conv3d(1, 2, 1), axis=axis)
    given = views_of_one_volume(batches(starts=starts), starts)
    assert abs(terms(method, given, parts=[0])["translation_1"].item()) < 1e-12
    for batch in given.values():
        batch.start = batch.start.flip(1)
    assert terms(method, given, parts=[0])["translation_1"].item() > 1e-5


@pytest.mark.parametrize("starts", STARTS[:2])
def test_a_network_with_context_disagrees_near_crop_borders_only(starts, batches):
    """Property 5: a padded 3x3x3 convolution sees one voxel beyond."""
    torch.manual_seed(0)
    network = nn.Conv3d(1, 2, 3, padding=1).double()
    image = views_of_one_volume(batches(starts=starts), starts)["labelled"].image
    first, second = overlap_boxes(*map(tuple, starts), (8, 8, 8))
    a, b = network(image[:, 0])[(..., *first)], network(image[:, 1])[(..., *second)]
    inner = torch.ones(8, 8, 8, dtype=torch.bool)
    inner[1:-1, 1:-1, 1:-1] = False
    near = inner[first] | inner[second]
    apart = (a - b).abs().amax((0, 1)) > 1e-9
    assert not apart[~near].any()
    # Where a border of one view cuts through the other; faces both views share are padded alike.
    assert apart.any()


def test_x_axis_ignores_an_offset_of_one_class_and_class_axis_does_not():
    """Property 6, quirk 1: whatever is constant along x is invisible to the released axis."""
    a, b = logits(0), logits(1)
    offset = tensor([0, 3]).reshape(2, 1, 1, 1)
    same, moved = (float(translation_kl(a, view, "x")) for view in (b, b + offset))
    assert moved == pytest.approx(same, rel=1e-12)
    assert float(translation_kl(b, b, "class")) == 0
    assert float(translation_kl(b, b + offset, "class")) > 0.1


def test_x_axis_compares_lines_along_x():
    """Quirk 1, second half: the first spatial axis of the un-batched tensor."""
    a, b = logits(0), logits(1)
    turned = translation_kl(a.transpose(0, 1), b.transpose(0, 1), "class")
    assert float(translation_kl(a, b, "x")) == pytest.approx(float(turned), rel=1e-12)


def gradients(method, given, terms, term="translation_1") -> tuple[Tensor, Tensor]:
    """Gradient of one term on the logits of both views; the network is the identity."""
    images = [batch.image.requires_grad_() for batch in given.values()]
    found = torch.autograd.grad(terms(method, given, parts=[0])[term], images)
    both = torch.cat(found)
    return both[:, 0], both[:, 1]


@pytest.mark.parametrize("axis", AXES)
def test_gradient_reaches_both_views(consistency, batches, terms, axis):
    """Property 7."""
    reference, shifted = gradients(
        consistency(nn.Identity(), axis=axis), batches(channels=2), terms
    )
    assert reference.abs().max() > 0
    assert shifted.abs().max() > 0


def test_gradient_stops_before_the_shifted_view_when_asked(consistency, batches, terms):
    """Property 7."""
    method = consistency(nn.Identity(), stop_gradient=True)
    reference, shifted = gradients(method, batches(channels=2), terms)
    assert reference.abs().max() > 0
    assert shifted.abs().max() == 0


@pytest.mark.parametrize("term", ["translation_1", "entropy_1"])
@pytest.mark.parametrize("axis", AXES)
def test_clamped_logits_outside_0_to_1_get_no_gradient(consistency, batches, terms, axis, term):
    """Property 7, quirk 2: exactly zero below 1e-6 and above 1."""
    method = consistency(nn.Identity(), axis=axis, logit_clamp=RELEASED_CLAMP)
    given = batches(channels=2)
    image = torch.cat([batch.image for batch in given.values()])
    outside = (image < RELEASED_CLAMP[0]) | (image > RELEASED_CLAMP[1])
    found = torch.stack(gradients(method, given, terms, term), dim=1)
    assert outside.double().mean() > 0.5
    assert found[outside].abs().max() == 0
    assert found[~outside].abs().max() > 0


def test_only_the_overlap_gets_a_gradient(consistency, batches, terms):
    given = batches(channels=2, starts=[[2, 1, 3], [0, 0, 0]])
    reference, shifted = gradients(consistency(nn.Identity()), given, terms)
    touched = [(view.abs().amax((0, 1)) > 0).nonzero() for view in (reference, shifted)]
    assert touched[0].amin(0).tolist() == [0, 0, 0]
    assert touched[0].amax(0).tolist() == [5, 6, 4]
    assert touched[1].amin(0).tolist() == [2, 1, 3]
    assert touched[1].amax(0).tolist() == [7, 7, 7]


def test_following_the_entropy_term_raises_entropy(consistency, batches, terms):
    """Property 8: one gradient step on N alone."""
    method, given = consistency(), batches()
    before = terms(method, given, parts=[0])["entropy_1"]
    before.backward()
    with torch.no_grad():
        for parameter in method.pair[0].parameters():
            parameter.sub_(0.1 * parameter.grad)
    after = terms(method, given, parts=[0])["entropy_1"]
    assert before.item() > -math.log(2)
    assert after.item() < before.item() - 1e-6  # N is minus the entropy


@pytest.mark.parametrize("rows", ["all", "unlabelled"])
def test_labelled_items_take_part_unless_they_are_left_out(consistency, batches, terms, rows):
    """Property 9: the shifted view of a labelled item."""
    method = consistency(rows=rows)
    before = terms(method, batches(), parts=[0])
    changed = batches()
    changed["labelled"].image[0, 1] += torch.randn(1, 8, 8, 8).double()
    after = terms(method, changed, parts=[0])
    for name in ("translation_1", "entropy_1"):
        same = before[name].item() == after[name].item()
        assert same == (rows == "unlabelled")
    changed["unlabelled"].image[0, 1] *= 2
    assert (
        terms(method, changed, parts=[0])["translation_1"].item() != after["translation_1"].item()
    )
