"""Patches that hold foreground, against the sheet of planning, sections 3.3, 5 and 6.6."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
import torch

from medssl.data.foreground import Aim, find_class_voxels, forced
from medssl.data.patches import OverlappingPatches, Pose, SinglePatch, around
from medssl.data.stream import PatchStream
from medssl.transforms.chain import Augment

PATCH = (4, 6, 5)
SHAPE = (14, 17, 13)


@dataclass
class Case:
    """Its image is its mask."""

    id: str
    mask: np.ndarray
    floor: float = 0.0
    partial: bool = False
    outlined: tuple[bool, ...] | None = None

    @property
    def image(self) -> np.ndarray:
        return self.mask[None].astype(np.float32)

    @property
    def class_voxels(self) -> np.ndarray:
        return find_class_voxels(self.mask)


def dots(name: str, classes: Sequence[int], seed: int = 0) -> Case:
    """Single voxels of each class, anywhere."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(SHAPE, np.uint8)
    for index in classes:
        mask[tuple(rng.integers(SHAPE))] = index
    return Case(name, mask)


def stream(cases, share=0.33, by="class", size=2, sampler=None, seed=0, **changes) -> PatchStream:
    augment = Augment.of({"basic": changes})
    how = sampler or SinglePatch(PATCH), augment, size, seed
    return PatchStream("labelled", cases, *how, foreground=share, foreground_by=by)


@pytest.mark.parametrize(
    ("size", "count"),
    [*zip(range(1, 13), [0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4], strict=True)],
)
def test_so_many_of_a_batch_are_forced_as_in_nnunet(size: int, count: int) -> None:
    assert [*forced(size, 0.33)] == [*range(size - count, size)]


def test_a_share_of_0_forces_none_and_of_1_all() -> None:
    assert [*forced(4, 0)] == []
    assert [*forced(4, 1)] == [0, 1, 2, 3]


def test_a_patch_lies_around_its_voxel_and_inside_the_volume_at_both_borders() -> None:
    """nnU-Net's start is (34, 0, 83), of which 15 voxels lie beyond the far border."""
    assert around((50, 5, 99), (100,) * 3, (32,) * 3) == (34, 0, 68)


@pytest.mark.parametrize(("voxels", "kept"), [(7, 7), (10_000, 10_000), (20_000, 10_000)])
def test_so_many_voxels_of_a_class_are_kept(voxels: int, kept: int) -> None:
    mask = np.zeros((30, 30, 30), np.uint8)
    mask.reshape(-1)[:voxels] = 2
    mask[-1, -1, -1] = 1
    found = find_class_voxels(mask)
    assert Counter(found[:, 0].tolist()) == {1: 1, 2: kept}
    assert len(np.unique(found, axis=0)) == len(found)
    assert all(mask[tuple(place)] == index for index, *place in found.tolist())
    np.testing.assert_array_equal(found, find_class_voxels(mask.copy()))


def test_of_a_large_class_a_hundredth_is_kept() -> None:
    assert len(find_class_voxels(np.ones((121, 100, 100), np.uint8))) == 12_100
    assert len(find_class_voxels(np.ones((100, 101, 100), np.uint8))) == 10_100


def test_a_mask_without_foreground_has_none() -> None:
    assert find_class_voxels(np.zeros((3, 3, 3), np.uint8)).shape == (0, 4)


@pytest.mark.parametrize(("turns", "flip"), [*product(range(4), (None, 0, 1))])
def test_a_voxel_is_found_again_in_every_pose(turns: int, flip: int | None) -> None:
    pose, volume = Pose(turns, flip), np.zeros((3, 5, 4))
    volume[2, 1, 3] = 1
    assert pose.apply(volume)[pose.place((2, 1, 3), volume.shape)] == 1


@pytest.mark.parametrize("sampler", [SinglePatch(PATCH), OverlappingPatches(PATCH)])
@pytest.mark.parametrize("by", ["class", "case"])
def test_the_last_patches_hold_a_voxel_of_a_class_whatever_the_pose(sampler, by) -> None:
    cases = [dots(f"case{n}", (1, 2), n) for n in range(3)]
    source = stream(cases, by=by, size=3, sampler=sampler, rot90=True, flip="half")
    held = np.array(
        [[bool(one.any()) for one in source.batch(number).truth] for number in range(30)]
    )
    assert held[:, 2].all()
    assert held[:, :2].mean() < 0.5


def test_far_from_the_borders_the_voxel_is_in_the_middle() -> None:
    case = Case("one", np.zeros(SHAPE, np.uint8))
    case.mask[7, 9, 6] = 1
    batch = stream([case], share=1).batch(0)
    for label in batch.truth:
        assert label.nonzero().tolist() == [[side // 2 for side in PATCH]]


def test_a_volume_smaller_than_the_patch_is_padded_around_its_voxel() -> None:
    case = Case("small", np.zeros((2, 3, 2), np.uint8))
    case.mask[1, 2, 0] = 1
    assert all(int(label.sum()) == 1 for label in stream([case], share=1).batch(0).truth)


def test_a_rare_class_is_aimed_at_as_often_as_others_where_the_class_comes_first() -> None:
    """Section 5: two of six cases have class 3, and two other classes beside it."""
    cases = [dots(f"case{n}", (1, 2, 3) if n < 2 else (1, 2), n) for n in range(6)]
    draws = 3000

    def aimed_at(by: str) -> Counter[int]:
        aim, rng = Aim(cases, by), np.random.default_rng(0)
        found = (aim.draw(n % 6, rng) for n in range(draws))
        return Counter(int(cases[case].mask[voxel]) for case, voxel in found)

    for by, share in (("class", 1 / 3), ("case", 2 / 6 / 3)):
        deviation = (share * (1 - share) / draws) ** 0.5
        assert abs(aimed_at(by)[3] / draws - share) < 4 * deviation, by


def test_where_the_case_comes_first_each_case_keeps_its_turn() -> None:
    cases = [dots(f"case{n}", (1,), n) for n in range(4)]
    source = stream(cases, by="case")
    for epoch in range(4):
        assert len({name for n in (0, 1) for name in source.batch(2 * epoch + n).ids}) == 4


def test_a_case_without_foreground_is_cut_anywhere() -> None:
    cases = [dots("empty", ()), dots("full", (1,))]
    drawn = [Aim(cases, "case").draw(0, np.random.default_rng(n)) for n in range(5)]
    assert drawn == [(0, None)] * 5
    assert {Aim(cases, "class").draw(0, np.random.default_rng(n))[0] for n in range(5)} == {1}
    assert Aim(cases[:1], "class").draw(0, np.random.default_rng(0)) == (0, None)
    assert not stream(cases[:1], share=1).batch(0).truth.any()


def test_all_other_patches_stay_as_they_are_without_it() -> None:
    cases = [dots(f"case{n}", (1, 2), n) for n in range(4)]
    with_it, without = (stream(cases, share, size=3, rot90=True) for share in (0.33, 0))
    for number in range(6):
        one, other = with_it.batch(number), without.batch(number)
        assert one.ids[:2] == other.ids[:2]
        assert torch.equal(one.image[:2], other.image[:2])


def test_a_batch_is_a_function_of_seed_and_number() -> None:
    cases = [dots(f"case{n}", (1, 2), n) for n in range(4)]
    later = stream(cases)
    for number in range(3):
        later.batch(number)
    assert torch.equal(later.batch(7).image, stream(cases).batch(7).image)
    starts = [stream(cases, seed=seed).batch(7).start.tolist() for seed in range(4)]
    assert len({str(one) for one in starts}) > 1


def test_the_first_of_two_views_is_the_one_around_the_voxel() -> None:
    rng, shape, centre = np.random.default_rng(0), (60, 50, 40), (40, 25, 39)
    sampler = OverlappingPatches((16, 16, 8))
    starts = [sampler.draw(shape, rng, centre) for _ in range(20)]
    assert {first for first, _ in starts} == {(32, 17, 32)}
    assert len({second for _, second in starts}) > 10
