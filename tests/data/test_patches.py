from collections import Counter

import numpy as np
import pytest

from medssl.data.patches import Pose, SinglePatch, cut, overlap, overlap_boxes, padding
from medssl.transforms.random_spatial import RandPosed


def orientation(pose: Pose) -> tuple[tuple[int, ...], bool]:
    """What a pose does to a 2 x 2 plane, and whether it is a mirror image."""
    plane = pose.apply(np.arange(4).reshape(2, 2, 1))[..., 0]
    # Corners met going round: a rotation keeps the sense 0 1 3 2, a mirror image reverses it.
    ring = [plane[0, 0], plane[0, 1], plane[1, 1], plane[1, 0]]
    start = ring.index(0)
    return tuple(plane.ravel().tolist()), ring[(start + 1) % 4] != 1


def poses(draws: int, **asked: object) -> list[Pose]:
    drawing = RandPosed("image", **asked).set_random_state(0)
    found = []
    for _ in range(draws):
        drawing.randomize()
        found.append(drawing.pose)
    return found


def test_a_pose_turns_in_the_plane_then_flips_one_axis():
    array = np.arange(24).reshape(2, 3, 4)
    turned = Pose(turns=1).apply(array)
    assert turned.shape == Pose(turns=1).shape((2, 3, 4)) == (3, 2, 4)
    assert turned[0, 0].tolist() == array[0, 2].tolist()
    assert Pose(turns=1, flip=0).apply(array)[2].tolist() == turned[0].tolist()
    assert Pose(turns=1, flip=1).apply(array)[:, 1].tolist() == turned[:, 0].tolist()


def test_a_pose_leaves_depth_and_channels_alone_and_copies_nothing():
    image = np.random.default_rng(0).random((2, 3, 4, 5))
    posed = Pose(turns=3, flip=1).apply(image)
    assert posed.shape == (2, 4, 3, 5)
    assert np.shares_memory(posed, image)
    assert Counter(map(tuple, posed[1].reshape(-1, 5))) == Counter(
        map(tuple, image[1].reshape(-1, 5))
    )


def test_always_flipping_shows_mirror_images_only():
    """Quirk 7: a rotation times a flip never shows a volume in its own handedness."""
    drawn = poses(100, flip="always")
    assert all(orientation(pose)[1] for pose in drawn)
    assert len({orientation(pose)[0] for pose in drawn}) == 4


def test_flipping_half_the_time_draws_all_eight_orientations_equally():
    draws = 4000
    drawn = Counter(orientation(pose)[0] for pose in poses(draws))
    assert len(drawn) == 8
    # Five standard deviations of a binomial count.
    assert max(abs(n - draws / 8) for n in drawn.values()) < 5 * (draws * 7 / 64) ** 0.5


def test_no_orientation_change_is_asked_for_none_is_made():
    assert set(poses(20, turns=False, flip="none")) == {Pose()}


def test_flips_stay_on_the_axes_named():
    drawn = poses(50, turns=False, axes=[1])
    assert set(drawn) == {Pose(), Pose(flip=1)}


@pytest.mark.parametrize(("length", "amount"), [(5, 0), (4, 1), (3, 1), (2, 2), (1, 2)])
def test_padding_makes_every_axis_longer_than_a_patch_of_4(length, amount):
    """max((S - L) // 2 + 1, 0) on both sides, as the release does in x and y; here in z too."""
    assert padding((length, 9, length), (4, 4, 4)) == ((amount, amount), (0, 0), (amount, amount))
    assert length + 2 * amount > 4


def test_a_cut_reads_the_patch_and_fills_what_lies_outside():
    volume = np.arange(1, 3).reshape(1, 2, 1, 1)
    cuts = {start: cut(volume, (start, 0, 0), (3, 1, 1), fill=-7).ravel() for start in (-1, 0)}
    assert cuts[-1].tolist() == [-7, 1, 2]
    assert cuts[0].tolist() == [1, 2, -7]


@pytest.mark.parametrize("start", [-9, -3, 2, 9])
def test_a_cut_that_misses_the_volume_is_all_fill(start):
    assert (cut(np.ones((1, 2, 2)), (start, 0), (3, 2), fill=-7) == -7).all()


def test_a_cut_inside_the_volume_equals_the_slice():
    volume = np.random.default_rng(0).random((2, 7, 8, 9))
    found = cut(volume, (1, 2, 3), (3, 4, 5), fill=0)
    assert np.array_equal(found, volume[:, 1:4, 2:6, 3:8])


def test_a_single_patch_may_start_anywhere_but_at_the_very_end():
    """As in the release: the upper end of the draw is exclusive."""
    sampler, rng = SinglePatch((4, 4, 4)), np.random.default_rng(0)
    starts = {sampler.draw((7, 5, 4), rng) for _ in range(100)}
    assert starts == {((0, 0, 0),), ((1, 0, 0),), ((2, 0, 0),)}


@pytest.mark.parametrize("side", [1, 5])
@pytest.mark.parametrize("delta", range(-7, 8))
def test_overlap_holds_exactly_the_positions_both_views_show(side, delta):
    reference, shifted = 10 + delta, 10
    first, second = overlap(reference, shifted, side)
    both = set(range(reference, reference + side)) & set(range(shifted, shifted + side))
    assert {reference + i for i in range(*first)} == both
    assert {shifted + i for i in range(*second)} == both


def test_views_that_only_touch_share_no_box():
    patch = (4, 4, 4)
    assert overlap_boxes((4, 0, 0), (0, 0, 0), patch) is None
    assert overlap_boxes((3, 0, 0), (0, 0, 1), patch) == (
        (slice(0, 1), slice(0, 4), slice(1, 4)),
        (slice(3, 4), slice(0, 4), slice(0, 3)),
    )
