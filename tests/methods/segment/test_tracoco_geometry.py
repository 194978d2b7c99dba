"""Where the two views of TraCoCo lie (sheet sections 4 and 9; properties 1 to 3)."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from medssl.data.patches import OverlappingPatches, overlap, overlap_boxes, padding
from medssl.data.stream import PatchStream
from medssl.methods.segment.tracoco import negative_entropy, translation_kl
from medssl.transforms.chain import Augment

PATCH = (6, 5, 4)
SAMPLERS = {
    "left atrium": OverlappingPatches(PATCH),
    "pancreas": OverlappingPatches(PATCH, repair="pancreas"),
    "no repair": OverlappingPatches(PATCH, repair="none"),
    "first release": OverlappingPatches(PATCH, "first_release"),
    "half shared": OverlappingPatches(PATCH, min_overlap=0.5),
}
SHAPES = {
    "one voxel larger": (7, 6, 5),
    "as large as the patch": PATCH,
    "padded on two axes": (4, 11, 2),
    "twice as large": (13, 9, 8),
    "so large that views may share nothing": (31, 27, 21),
}
UNRESTRAINED = {"weight": 1.0, "rampup_steps": 1}


@dataclass
class Coordinates:
    """An image whose three channels hold each voxel's x, y and z; -1 where it is padded."""

    shape: tuple[int, int, int]
    id: str = "coordinates"
    mask: None = None
    floor: float = -1.0

    @property
    def image(self) -> np.ndarray:
        return np.stack(np.indices(self.shape)).astype(np.float32)


def places(view: torch.Tensor) -> set[tuple[float, ...]]:
    """Coordinates that a view [3, x, y, z] shows, padding left out."""
    return {place for place in map(tuple, view.flatten(1).T.tolist()) if min(place) >= 0}


def seen_twice(sampler: OverlappingPatches, shape: tuple[int, int, int], draws: int):
    """Both views of each draw, and the boxes named as their overlap."""
    changes = Augment.of({"basic": {"rot90": True, "flip": "half"}})
    stream = PatchStream("unlabelled", [Coordinates(shape)], sampler, changes, draws, seed=0)
    batch = stream.batch(0)
    for views, start in zip(batch.image, batch.start.tolist(), strict=True):
        first, second = (tuple(view) for view in start)
        yield views[0], views[1], overlap_boxes(first, second, sampler.patch)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS.keys())
def test_overlap_boxes_show_the_same_voxels_and_all_of_them(sampler, shape):
    """Property 1, 1000 draws in all: equal voxel for voxel, and nothing shared lies outside."""
    for reference, shifted, boxes in seen_twice(sampler, shape, draws=40):
        both = places(reference) & places(shifted)
        if boxes is None:
            assert not both
            continue
        first, second = reference[(slice(None), *boxes[0])], shifted[(slice(None), *boxes[1])]
        assert torch.equal(first, second)
        assert places(first) == places(second) == both


def test_swapped_boxes_show_other_voxels():
    """So the test above would notice boxes taken from the wrong view."""
    swapped = []
    for reference, shifted, boxes in seen_twice(SAMPLERS["left atrium"], (13, 9, 8), draws=40):
        if boxes is not None and boxes[0] != boxes[1]:
            first, second = reference[(slice(None), *boxes[1])], shifted[(slice(None), *boxes[0])]
            swapped.append(torch.equal(first, second))
    assert len(swapped) > 30
    assert not any(swapped)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS.keys())
def test_every_view_lies_inside_the_volume(sampler, shape):
    """Property 2, first half."""
    pads = padding(shape, PATCH)
    padded = tuple(n + a + b for n, (a, b) in zip(shape, pads, strict=True))
    last = np.subtract(padded, PATCH)
    rng = np.random.default_rng(1)
    starts = np.array([sampler.draw(padded, rng) for _ in range(300)])
    assert starts.min() >= 0
    assert np.all(starts <= last)


@pytest.mark.parametrize("least", [0.1, 0.5, 0.9])
def test_a_least_overlap_is_kept(least):
    """Property 2, second half."""
    sampler = OverlappingPatches(PATCH, min_overlap=least)
    rng = np.random.default_rng(1)
    shares = [shared_volume(*sampler.draw((31, 27, 21), rng)) for _ in range(100)]
    assert min(shares) >= least * np.prod(PATCH)


def shared_volume(reference, shifted) -> int:
    boxes = overlap_boxes(reference, shifted, PATCH)
    if boxes is None:
        return 0
    return int(np.prod([part.stop - part.start for part in boxes[0]]))


def test_the_share_of_an_overlap_is_its_volume_over_the_patch():
    sampler = OverlappingPatches(PATCH)
    for reference, shifted in [
        ((3, 3, 3), (3, 3, 3)),
        ((5, 0, 2), (1, 3, 1)),
        ((9, 0, 0), (0,) * 3),
    ]:
        expected = shared_volume(reference, shifted) / np.prod(PATCH)
        assert sampler.fraction(reference, shifted) == pytest.approx(expected)


def test_intervals_of_the_worked_example():
    """Sheet 13.1: S=112, r=30, s=10."""
    assert overlap(30, 10, 112) == ((0, 92), (20, 112))


def test_left_atrium_repair_of_the_worked_example():
    """r=130, s=5: 125 > 112 apart, so s moves up by 65 and d = 60."""
    sampler = OverlappingPatches((112, 112, 80), repair="left_atrium")
    for axis in (0, 1):
        assert sampler.repaired(130, 5, axis) == 70
        assert sampler.repaired(117, 5, axis) == 5  # 112 apart is not too far
    assert sampler.repaired(130, 5, axis=2) == 5  # never in z


def test_pancreas_repair_of_the_worked_example():
    """r=120, s=10: 110 > 96 apart, so s = 72 and d = 48; in all three axes."""
    sampler = OverlappingPatches((96, 96, 96), repair="pancreas")
    assert [sampler.repaired(120, 10, axis) for axis in range(3)] == [72, 72, 72]
    assert sampler.repaired(106, 10, axis=0) == 10


def test_repair_can_be_left_out():
    sampler = OverlappingPatches((112, 112, 80), repair="none")
    assert [sampler.repaired(130, 5, axis) for axis in range(3)] == [5, 5, 5]


def test_left_atrium_repair_stays_inside_very_long_volumes():
    """r=170, s=125, S=40: half of r added gives 210, past r; half a patch is kept instead."""
    assert OverlappingPatches((40, 40, 40)).repaired(170, 125, axis=0) == 150


def test_released_draws():
    """r in {0 ... L-S-1}, s in {0 ... r-1}, and s = 0 where r = 0; every pair occurs."""
    sampler, rng = OverlappingPatches((4, 4, 4)), np.random.default_rng(0)
    drawn = {
        (reference[axis], shifted[axis])
        for reference, shifted in (sampler.draw((8, 8, 8), rng) for _ in range(200))
        for axis in range(3)
    }
    assert drawn == {(0, 0), (1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)}


def first_release(last: int, draws: int = 4000) -> dict[int, set[int]]:
    """Shifted starts met in x and y for each reference start, with `last` = L - S."""
    sampler, rng = OverlappingPatches((4, 4, 4), "first_release"), np.random.default_rng(0)
    met: dict[int, set[int]] = {}
    for _ in range(draws):
        reference, shifted = sampler.draw((4 + last,) * 3, rng)
        for axis in (0, 1):
            met.setdefault(reference[axis], set()).add(shifted[axis])
    return met


def test_first_release_shifts_to_either_side_in_plane():
    """Between r/4 and 1.5 r; up to 0.75 r where 1.5 r would leave the volume."""
    met = first_release(last=12)
    assert met[0] == {0}
    assert met[4] == {1, 2, 3, 4, 5, 6}
    assert met[8] == {2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
    assert met[9] == {2, 3, 4, 5, 6}
    assert set(met) == set(range(12))


def test_first_release_mirrors_depth():
    """s_z = 8 - r_z on the left atrium, whose depth of 88 leaves 8 beside a patch of 80."""
    sampler, rng = OverlappingPatches((112, 112, 80), "first_release"), np.random.default_rng(0)
    depths = {tuple(view[2] for view in sampler.draw((180, 150, 88), rng)) for _ in range(100)}
    assert depths == {(r, 8 - r) for r in range(8)}


def test_an_empty_overlap_contributes_nothing_in_value_and_gradient(build, batches, terms):
    """Property 3, all items without an overlap."""
    method = build(
        "tracoco",
        network=nn.Identity(),
        channels=2,
        noise={"amplitude": 0},
        pseudo={"kind": "none"},
        unsupervised=UNRESTRAINED,
    )
    given = batches(channels=2, starts=[[9, 0, 0], [1, 0, 0]])
    for batch in given.values():
        batch.image.requires_grad_()
    found = terms(method, given, parts=[0])
    assert float(found["translation_1"]) == float(found["entropy_1"]) == 0
    sum(found.values()).backward()
    assert given["unlabelled"].image.grad.abs().max() == 0
    assert torch.isfinite(given["labelled"].image.grad).all()
    assert given["labelled"].image.grad[:, 1].abs().max() == 0


def test_items_without_an_overlap_are_left_out_beside_others(build, batches, terms):
    """Property 3, some items: the sum runs over the others, the mean entropy divides by them."""
    method = build(
        "tracoco",
        network=nn.Identity(),
        channels=2,
        noise={"amplitude": 0},
        pseudo={"kind": "none"},
        translation={"weight": 1.0},
        entropy={"weight": 1.0},
        unsupervised=UNRESTRAINED,
    )
    given = batches(channels=2, starts=[[2, 1, 3], [0, 0, 0]])
    given["labelled"].start[1, 0] = torch.tensor([8, 0, 0])
    given["unlabelled"].start[0, 0] = torch.tensor([0, 0, 9])
    kept = [given["labelled"].image[0], given["unlabelled"].image[1]]
    pairs = [(item[0][:, :6, :7, :5], item[1][:, 2:, 1:, 3:]) for item in kept]
    found = terms(method, given, parts=[0])
    kl = sum(translation_kl(a, b, "class") for a, b in pairs)
    entropy = sum(negative_entropy(view) for pair in pairs for view in pair) / 4
    torch.testing.assert_close(found["translation_1"], kl)
    torch.testing.assert_close(found["entropy_1"], entropy)
