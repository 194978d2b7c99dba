"""Random moves: exact places, laws, masks, and the plane of thick slices."""

import numpy as np
import pytest
import torch
from monai import transforms as monai
from monai.data import MetaTensor
from scipy import ndimage

from medssl.transforms import RandMirrord, RandPosed, RandRotateScaled
from medssl.transforms.linear import middle
from medssl.transforms.rotation import Rotation, turn

BOTH = ["image", "label"]
MANY = 2000


def pair(shape=(1, 9, 8, 7)):
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    return {"image": image, "label": (image > 0.5).to(torch.uint8)}


def rotations(shape, **given) -> tuple[list, np.ndarray]:
    """Rotation matrices (None: not drawn) and factors of many draws."""
    transform = RandRotateScaled(BOTH, **given).set_random_state(0)
    turns, scales = [], []
    for _ in range(MANY):
        transform.randomize(shape)
        turns.append(transform._turn)
        scales.append(transform._scale)
    return turns, np.array(scales)


def test_rotation_and_scaling_are_drawn_apart_with_nnu_nets_chances() -> None:
    turns, scales = rotations((8, 8, 8))
    turned = np.array([one is not None for one in turns])
    scaled = scales != 1
    assert turned.mean() == pytest.approx(0.2, abs=0.03)
    assert scaled.mean() == pytest.approx(0.2, abs=0.03)
    assert (turned & scaled).mean() == pytest.approx(0.04, abs=0.02)
    assert 0.7 <= scales.min() < 0.75
    assert 1.35 < scales.max() <= 1.4
    assert scales[scaled].mean() == pytest.approx(1.05, abs=0.04)


def test_a_rotation_in_space_turns_about_all_axes_by_at_most_30_degrees_each() -> None:
    turns, _ = rotations((8, 8, 8), prob_rotation=1)
    found = np.array(turns)
    identity = np.broadcast_to(np.eye(3), found.shape)
    np.testing.assert_allclose(found @ found.transpose(0, 2, 1), identity, atol=1e-12)
    assert (np.linalg.det(found) > 0).all()
    # About the second axis, the sine stands alone in the product x y z.
    sines = found[:, 0, 2]
    assert np.abs(sines).max() == pytest.approx(0.5, abs=0.01)
    assert (np.abs(found - np.eye(3)).max(0) > 0.1).all()


@pytest.mark.parametrize(
    ("shape", "axes", "most"),
    [
        ((24, 24, 7), 2, 180),
        ((24, 7, 24), 2, 180),
        ((24, 24, 8), 3, 30),
        ((9, 9), 2, 180),
        ((16, 9), 2, 15),
    ],
)
def test_the_plane_is_that_of_thin_slices_or_of_the_image(shape, axes, most) -> None:
    turns, _ = rotations(shape, prob_rotation=1)
    assert {one.shape for one in turns} == {(axes, axes)}
    if axes == 2:
        angles = np.rad2deg([np.arctan2(one[1, 0], one[0, 0]) for one in turns])
        assert np.abs(angles).max() == pytest.approx(most, rel=0.02)
        assert np.histogram(angles, 3, (-most, most))[0] == pytest.approx([MANY / 3] * 3, rel=0.15)


def test_slices_all_turn_together_and_stay_what_they_are() -> None:
    data = pair((1, 16, 16, 5))
    transform = RandRotateScaled(BOTH, prob_rotation=1, prob_scaling=1).set_random_state(2)
    after = transform(data)
    flat = {key: image[..., 2] for key, image in data.items()}
    plane = RandRotateScaled(BOTH, prob_rotation=1, prob_scaling=1).set_random_state(2)(flat)
    for key in BOTH:
        torch.testing.assert_close(after[key][..., 2], plane[key])


def test_a_quarter_turn_is_exact() -> None:
    square = torch.rand(2, 6, 6)
    turned = Rotation(turn(2, 0, 1, np.pi / 2))(square, (6, 6))
    torch.testing.assert_close(turned, torch.rot90(square, -1, (1, 2)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", [1.0, 0.8, 1.3])
def test_image_values_are_those_of_scipy(scale) -> None:
    """Linear between voxels, both grids around one middle; what is read outside is 0."""
    data = pair()
    transform = RandRotateScaled(BOTH, prob_rotation=1, prob_scaling=1, scaling=(scale, scale))
    after = transform.set_random_state(5)(data)["image"][0]
    matrix = transform._matrix((9, 8, 7))
    centre = (np.array(data["image"].shape[1:]) - 1) / 2
    wanted = ndimage.affine_transform(
        data["image"][0].numpy(), matrix, centre - matrix @ centre, order=1, mode="grid-constant"
    )
    np.testing.assert_allclose(after, wanted, atol=2e-5)


@pytest.mark.parametrize("factor", [0.7, 1.4])
def test_scaling_alone_is_the_same_reading_axis_by_axis(factor) -> None:
    data = pair()
    alone = RandRotateScaled(BOTH, prob_rotation=0, prob_scaling=1, scaling=(factor, factor))
    after = alone.set_random_state(0)(data)
    wanted = Rotation(factor * np.eye(3))(data["image"], (9, 8, 7))
    torch.testing.assert_close(after["image"], wanted, atol=1e-5, rtol=0)


def test_a_factor_above_1_makes_objects_smaller() -> None:
    ball = {"image": torch.zeros(1, 20, 20, 20)}
    ball["image"][:, 5:15, 5:15, 5:15] = 1
    counts = []
    for factor in (0.7, 1.4):
        transform = RandRotateScaled("image", 0, prob_scaling=1, scaling=(factor, factor))
        counts.append(float(transform.set_random_state(0)(ball)["image"].sum()))
    assert counts[1] < 1000 < counts[0]


@pytest.mark.parametrize("size", [(16, 14, 12), (16, 14)])
@pytest.mark.parametrize("seed", range(6))
def test_what_is_0_in_most_places_is_read_like_all_else(size, seed) -> None:
    """Reading is linear, so a sparse image is what it adds to a dense one."""
    rng = np.random.default_rng(seed)
    matrix = np.eye(len(size)) + rng.uniform(-0.4, 0.4, (len(size), len(size)))
    sparse = torch.zeros(2, *size)
    corner = [int(rng.integers(side - 2)) for side in size]
    sparse[(slice(None), *(slice(start, start + 3) for start in corner))] = -1.0
    dense = torch.from_numpy(rng.uniform(1, 2, (2, *size)).astype(np.float32))
    larger = tuple(side + 4 for side in size)
    for wanted in (size, larger):
        added = Rotation(matrix)(sparse + dense, wanted) - Rotation(matrix)(dense, wanted)
        assert torch.allclose(Rotation(matrix)(sparse, wanted), added, atol=1e-5)
    assert not Rotation(matrix)(torch.zeros(1, *size), size).any()


def test_the_class_with_the_largest_share_wins_by_hand() -> None:
    """A row of 1 1 2 0, twice as large: places 0.25 apart from voxels have shares 3/4 and 1/4."""
    row = torch.tensor([1, 1, 2, 0], dtype=torch.uint8).reshape(1, 4, 1)
    twice = Rotation(np.diag([0.5, 1])).classes(row, (8, 1))
    assert twice.flatten().tolist() == [1, 1, 1, 1, 2, 2, 0, 0]
    # Half a voxel further, 1 and 2 as well as 2 and 0 share equally, and the lowest wins.
    between = Rotation(np.eye(2)).classes(row, (3, 1))
    assert between.flatten().tolist() == [1, 1, 0]


def test_beside_ignored_voxels_the_nearest_voxel_is_taken() -> None:
    row = torch.tensor([1, 255, 2, 2], dtype=torch.uint8).reshape(1, 4, 1)
    twice = Rotation(np.diag([0.5, 1])).classes(row, (8, 1))
    assert twice.flatten().tolist() == [1, 1, 255, 255, 2, 2, 2, 2]


@pytest.mark.parametrize("size", [(16, 14, 12), (16, 14)])
@pytest.mark.parametrize("seed", range(6))
def test_classes_are_read_like_images_of_which_the_largest_wins(size, seed) -> None:
    rng = np.random.default_rng(seed)
    matrix = np.eye(len(size)) + rng.uniform(-0.4, 0.4, (len(size), len(size)))
    mask = torch.from_numpy(rng.choice([0, 0, 1, 3], size).astype(np.uint8))
    mask[2:8, 3:9] = 3  # inside, no voxel is weighed
    for wanted in (size, tuple(side + 4 for side in size)):
        ones = torch.stack([(mask == value).float() for value in range(4)])
        shares = Rotation(matrix)(ones, wanted)
        shares[0] = 1 - shares[1:].sum(0)
        most = shares.topk(2, 0)
        clear = most.values[0] - most.values[1] > 1e-4
        found = Rotation(matrix).classes(mask[None], wanted)[0]
        assert found.dtype == torch.uint8
        assert torch.equal(found[clear].long(), most.indices[0][clear])
        assert clear.float().mean() > 0.95
    assert not Rotation(matrix).classes(torch.zeros_like(mask[None]), size).any()


def test_masks_keep_their_type_and_classes() -> None:
    data = pair((1, 12, 12, 12))
    data["label"] = (data["image"] * 3).to(torch.uint8)
    transform = RandRotateScaled(BOTH, prob_rotation=1, prob_scaling=1).set_random_state(0)
    label = transform(data)["label"]
    assert label.dtype == torch.uint8
    assert set(label.unique().tolist()) <= {0, 1, 2}
    assert not torch.equal(label, data["label"])


@pytest.mark.parametrize("seed", range(8))
def test_a_box_of_the_size_it_needs_gives_the_middle_of_a_larger_one(seed) -> None:
    transform = RandRotateScaled("image", prob_rotation=0.7, prob_scaling=0.7).set_random_state(
        seed
    )
    size = (10, 9, 8)
    transform.randomize(size)
    needs = transform.needs(size)
    assert all((have - want) % 2 == 0 for have, want in zip(needs, size, strict=True))
    large = torch.rand(1, 40, 39, 40)
    wanted = transform.apply({"image": large}, size)["image"]
    cut = transform.apply({"image": middle(large, needs)}, size)["image"]
    torch.testing.assert_close(cut, wanted, atol=2e-5, rtol=0)


def test_each_axis_mirrors_by_itself() -> None:
    transform = RandMirrord(BOTH).set_random_state(0)
    drawn = []
    for _ in range(MANY):
        transform.randomize()
        drawn.append(transform._drawn)
    assert len(set(drawn)) == 8
    assert max(drawn.count(one) for one in set(drawn)) < MANY / 8 * 1.3
    assert np.mean([0 in one for one in drawn]) == pytest.approx(0.5, abs=0.04)


def test_mirroring_is_that_of_numpy_and_masks_follow() -> None:
    data = pair()
    after = RandMirrord(BOTH, prob=1, axes=[0, 2])(data)
    assert torch.equal(after["image"], data["image"].flip(1, 3))
    assert torch.equal(after["label"] == 1, after["image"] > 0.5)
    plane = RandMirrord("image", prob=1)({"image": data["image"][..., 0]})["image"]
    assert torch.equal(plane, data["image"][..., 0].flip(1, 2))


def test_a_pose_is_what_its_view_of_the_volume_shows() -> None:
    data = pair((1, 6, 6, 4))
    transform = RandPosed(BOTH)
    for seed in range(12):
        after = transform.set_random_state(seed)(data)
        wanted = transform.pose.apply(data["image"].numpy())
        assert np.array_equal(after["image"].numpy(), wanted)
        assert torch.equal(after["label"] == 1, after["image"] > 0.5)


def test_turned_sides_that_differ_are_cut_and_filled_around_the_middle() -> None:
    image = torch.arange(1.0, 9).reshape(1, 4, 2)
    transform = RandPosed("image", flip="none")
    transform.pose = transform.pose.__class__(turns=1)
    assert transform.apply({"image": image}, (4, 2))["image"].tolist() == [
        [[0, 0], [4, 6], [3, 5], [0, 0]]
    ]
    assert transform.needs((4, 2)) == (4, 4)


@pytest.mark.parametrize("transform", [RandPosed, RandMirrord, RandRotateScaled])
@pytest.mark.parametrize("shape", [(2, 8, 8, 6), (2, 8, 7)], ids=["3-D", "2-D"])
def test_they_fit_into_anyones_chain(transform, shape) -> None:
    sure = {"prob_rotation": 1, "prob_scaling": 1} if transform is RandRotateScaled else {}
    chain = monai.Compose([transform([*BOTH, "lacking"], allow_missing_keys=True, **sure)])
    image = MetaTensor(torch.rand(shape))
    data = {"image": image, "label": MetaTensor((image.as_tensor() > 0.5).to(torch.uint8)[:1])}
    before = image.clone()
    after = chain.set_random_state(1)(data)
    assert isinstance(after["image"], MetaTensor)
    assert after["image"].shape == image.shape
    assert torch.equal(image, before)
    assert torch.equal(chain.set_random_state(1)(data)["image"], after["image"])
    assert chain({"more": 1}) == {"more": 1}


@pytest.mark.parametrize("transform", [RandPosed, RandMirrord, RandRotateScaled])
@pytest.mark.parametrize("sure", [{"prob_rotation": 1}, {"prob_rotation": 0, "prob_scaling": 1}])
def test_nothing_is_made_on_a_wrong_device(transform, sure) -> None:
    made = transform("image", **(sure if transform is RandRotateScaled else {}))
    after = made.set_random_state(1)({"image": torch.empty(1, 8, 8, 8, device="meta")})["image"]
    assert (after.device.type, after.shape) == ("meta", (1, 8, 8, 8))


@pytest.mark.parametrize(
    ("transform", "given"),
    [
        (RandPosed, {"flip": "sometimes"}),
        (RandPosed, {"axes": [2]}),
        (RandPosed, {"axes": []}),
        (RandMirrord, {"axes": [3]}),
        (RandRotateScaled, {"scaling": (1.4, 0.7)}),
        (RandRotateScaled, {"scaling": (0, 1)}),
    ],
)
def test_arguments_without_a_meaning_are_refused(transform, given) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        transform("image", **given)
