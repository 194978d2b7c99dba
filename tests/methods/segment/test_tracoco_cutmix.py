"""CutMix of images and pseudo-logits (sheet section 6 and 13.1; property 14)."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medssl.methods.segment.cutmix import Mixture, box_span, draw_mixture
from medssl.methods.segment.tracoco import pseudo_loss

SHAPE = (12, 10, 8)


def draws(axes: str, number: int = 50, items: int = 4) -> list[Mixture]:
    rng = np.random.default_rng(0)
    return [draw_mixture(items, SHAPE, axes, 4.0, rng) for _ in range(number)]


def coordinates(items: int) -> Tensor:
    """[B, 4, X, Y, Z]: the item's number and each voxel's position."""
    grid = torch.stack(torch.meshgrid(*(torch.arange(n) for n in SHAPE), indexing="ij"))
    rows = torch.arange(items).reshape(-1, 1, 1, 1, 1).expand(-1, 1, *SHAPE)
    return torch.cat([rows, grid.expand(items, -1, -1, -1, -1)], dim=1)


def test_box_by_hand():
    """W=112, lambda=0.5: side int(112 x 0.70710678) = 79 around 56."""
    assert box_span(112, 0.5**0.5, 56) == slice(17, 95)


def test_boxes_are_clipped_to_the_patch():
    assert box_span(112, 0.5**0.5, 14) == slice(0, 53)
    assert box_span(112, 0.5**0.5, 111) == slice(72, 112)


@pytest.mark.parametrize("axes", ["xy", "xyz"])
def test_items_are_untouched_outside_their_box_and_the_donor_inside(axes):
    """Property 14; the second channel on holds positions, so nothing moves."""
    given = coordinates(4)
    for mixture in draws(axes):
        mixed = mixture.apply(given)
        for item, (donor, box) in enumerate(zip(mixture.donors, mixture.boxes, strict=True)):
            inside = torch.zeros(SHAPE, dtype=torch.bool)
            inside[box] = True
            assert torch.equal(mixed[item, 0], torch.where(inside, donor, item))
            assert torch.equal(mixed[item, 1:], given[item, 1:])


def test_inputs_are_not_modified():
    given = coordinates(4)
    before = given.clone()
    for mixture in draws("xy", 5):
        mixture.apply(given)
    assert torch.equal(given, before)


def test_in_plane_boxes_have_the_full_depth():
    """Quirk 5."""
    depths = {(box[2].start, box[2].stop) for mixture in draws("xy") for box in mixture.boxes}
    assert depths == {(0, SHAPE[2])}


def test_boxes_in_three_axes_have_not():
    depths = {(box[2].start, box[2].stop) for mixture in draws("xyz") for box in mixture.boxes}
    assert len(depths) > 5


class Fixed:
    """Lambda 0.5; every box in the middle, so that none is clipped."""

    def beta(self, a: float, b: float) -> float:
        assert a == b == 4
        return 0.5

    def integers(self, low: int, high: int) -> int:
        return (high + 1) // 2

    def permutation(self, items: int) -> np.ndarray:
        return np.arange(items)


@pytest.mark.parametrize(("axes", "power"), [("xy", 2), ("xyz", 3)])
def test_a_box_holds_the_share_that_lambda_leaves(axes, power):
    """Sides are int((1 - lambda)^(1/2) W), or the cubic root where the box is cut in depth too."""
    (box,) = draw_mixture(1, (100, 100, 100), axes, 4, Fixed()).boxes
    side = 2 * (int(100 * 0.5 ** (1 / power)) // 2)
    expected = (side, side, 100) if axes == "xy" else (side, side, side)
    assert tuple(part.stop - part.start for part in box) == expected


def test_one_ratio_per_batch_one_centre_per_item():
    """Boxes that no border clips have equal sides within a batch, at different places."""
    centres = set()
    for mixture in draws("xy"):
        unclipped = [b[0] for b in mixture.boxes if b[0].start > 0 and b[0].stop < SHAPE[0]]
        assert len({part.stop - part.start for part in unclipped}) <= 1
        centres.add(len({part.start for part in unclipped}))
    assert max(centres) > 1


def test_centres_lie_between_an_eighth_and_the_end():
    """{W // 8 ... W - 1}: every one of them, and no other."""

    class Spy:
        def __init__(self) -> None:
            self.ranges: list[tuple[int, int]] = []

        def beta(self, a: float, b: float) -> float:
            return 0.5

        def integers(self, low: int, high: int) -> int:
            self.ranges.append((low, high))
            return low

        def permutation(self, items: int) -> np.ndarray:
            return np.arange(items)

    spy = Spy()
    draw_mixture(2, (112, 96, 80), "xy", 4, spy)
    assert spy.ranges == [(14, 112), (12, 96)] * 2


def test_donors_are_one_permutation_and_may_be_the_item_itself():
    found = [tuple(mixture.donors) for mixture in draws("xy")]
    assert all(sorted(donors) == [0, 1, 2, 3] for donors in found)
    assert any(donor == item for donors in found for item, donor in enumerate(donors))
    assert len(set(found)) > 5


@pytest.fixture
def mixing(build):
    """The identity as both networks, noiseless: student and teacher logits are the image."""

    def make(networks: list[int]):
        return build(
            "tracoco",
            network=nn.Identity(),
            channels=2,
            noise={"amplitude": 0},
            translation={"enabled": False},
            cutmix={"networks": networks},
            unsupervised={"weight": 1.0, "rampup_steps": 1},
        )

    return make


@pytest.mark.parametrize("networks", [[], [1], [2], [1, 2]])
def test_only_the_named_networks_mix(mixing, batches, terms, networks):
    """On plain images student and teacher agree on rows 2-3; mixing brings in other rows."""
    given = batches(channels=2, starts=[[0, 0, 0]])
    image = given["unlabelled"].image[:, 0]
    method = mixing(networks)
    plain = pseudo_loss(image, image, method.settings.pseudo).item()
    found = terms(method, given)
    mixed = [part for part in (1, 2) if found[f"pseudo_{part}"].item() != plain]
    assert mixed == networks


def test_image_and_pseudo_labels_share_their_boxes(build, batches, terms):
    """Student and teacher of a context-free network then agree on every mixed voxel as well.

    With hard labels and logits far apart, agreement costs nothing; a box in the image alone would
    set one item's logits against the other's labels.
    """
    method = build(
        "tracoco",
        network=nn.Identity(),
        channels=2,
        noise={"amplitude": 0},
        translation={"enabled": False},
        pseudo={"kind": "cross_entropy"},
        cutmix={"networks": [2]},
        unsupervised={"weight": 1.0, "rampup_steps": 1},
    )
    given = batches(channels=2, starts=[[0, 0, 0]])
    for sign, batch in zip((1, -1), given.values(), strict=True):
        batch.image = torch.tensor([50.0, -50.0]).double().reshape(1, 1, 2, 1, 1, 1) * (
            sign * torch.ones_like(batch.image)
        )
    assert terms(method, given, parts=[1])["pseudo_2"].item() < 1e-12


def test_pasted_pseudo_labels_never_come_from_the_truth(build, batches, terms):
    """Donors may be labelled items; their labels change nothing but the supervised term."""
    method = build("tracoco")
    given, other = batches(), batches()
    other["labelled"].label = 1 - other["labelled"].label
    before, after = terms(method, given), terms(method, other)
    changed = {name for name in before if before[name].item() != after[name].item()}
    assert changed == {"supervised_1", "supervised_2"}


@pytest.mark.parametrize("axes", ["xy", "xyz"])
def test_an_axis_of_one_voxel_is_never_cut(axes):
    """A 2-D image is a volume of one slice: its boxes hold the slice."""
    rng = np.random.default_rng(0)
    boxes = [draw_mixture(1, (12, 10, 1), axes, 4.0, rng).boxes[0] for _ in range(20)]
    assert all(box[2] == slice(0, 1) for box in boxes)
    assert len({(box[0].start, box[0].stop) for box in boxes}) > 5


def test_sides_may_be_the_square_root_on_three_axes():
    """AD-MT's sheet, quirk 2: at lambda = 0.5 a box holds 0.5^1.5 = 0.354 of the patch."""
    (box,) = draw_mixture(1, (100, 100, 100), "xyz", 4, Fixed(), "square_root").boxes
    volume = np.prod([one.stop - one.start for one in box])
    assert volume == 70**3


def test_donors_may_be_of_another_batch():
    own, other = coordinates(2), coordinates(2) + 100
    mixture = Mixture([1, 0], [(slice(0, 4), slice(0, 10), slice(2, 8))] * 2)
    mixed = mixture.apply(own, other)
    assert torch.equal(mixed[0, :, :4, :, 2:], other[1, :, :4, :, 2:])
    assert torch.equal(mixed[1, :, 4:], own[1, :, 4:])
