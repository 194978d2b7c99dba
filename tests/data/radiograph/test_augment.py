"""The random transform of radiographs against a plain form of it, one crop at a time."""

import csv
from collections import Counter
from math import cos, radians, sin
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import affine_transform, binary_dilation

from medssl.data.radiograph.augment import (
    evaluation_view,
    random_change,
    random_view,
    released_second_view,
)
from medssl.data.radiograph.settings import StrongAugment
from medssl.data.radiograph.strong import cut_out, smoothed, strong_view, weaker
from medssl.errors import UsageError
from medssl.transforms.radiograph_chain import RadiographAugment
from medssl.transforms.radiograph_views import must_keep_crops
from medssl.transforms.random_radiograph import add_noise, change_gamma, draw_pose, turn_and_shift


def semixup(**keys: Any) -> RadiographAugment:
    return RadiographAugment.of({"semixup": keys})


NOTHING = semixup(noise_chance=0, rotation=0, pad=1, gamma_chance=0)
PUBLISHED = semixup()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 3, views: int = 2, side: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.randint(
        256, (count, views, side, side), dtype=torch.uint8, generator=generator(seed)
    )


def crops(count: int, side: int) -> torch.Tensor:
    return torch.rand(count, 1, side, side, generator=generator(3))


def canvas_side(side: int, angle: float) -> int:
    """128 pixels become 139 at 5 degrees and 148 at 10 (sheet, section 5)."""
    return round(side * (cos(angle) + abs(sin(angle))))


def rotated(image: np.ndarray, angle: float) -> np.ndarray:
    """One crop on its growing canvas: scipy, bilinear, zero outside."""
    side, canvas = len(image), canvas_side(len(image), angle)
    back = np.array([[cos(angle), sin(angle)], [-sin(angle), cos(angle)]])
    offset = (side - 1) / 2 - back @ np.full(2, (canvas - 1) / 2)
    return affine_transform(
        image, back, offset, (canvas, canvas), order=1, mode="grid-constant", cval=0
    )


def padded(image: np.ndarray, least: int) -> np.ndarray:
    missing = max(0, least - len(image))
    return np.pad(image, (missing // 2, missing - missing // 2))


def corner_of(shift: torch.Tensor, side: int, angle: float, least: int) -> np.ndarray:
    """[row, column] of the crop in the padded canvas, from the shift that the batch is given."""
    canvas = canvas_side(side, angle)
    before = (max(canvas, least) - canvas) // 2
    return (shift.numpy() + before + (canvas - side) / 2)[::-1]


def test_the_canvas_grows_as_measured():
    assert canvas_side(128, 0) == 128
    assert canvas_side(128, radians(5)) == 139
    assert canvas_side(128, radians(-10)) == 148


def test_the_batch_is_rotated_padded_and_cropped_as_each_crop_by_itself():
    side = 40
    batch = crops(24, side)
    angle, shift = draw_pose(batch, 30, 1.1, generator(1))
    found = turn_and_shift(batch, angle, shift)
    for index, image in enumerate(batch[:, 0].double().numpy()):
        turn = float(angle[index])
        whole = padded(rotated(image, turn), int(side * 1.1))
        corner = corner_of(shift[index], side, turn, int(side * 1.1))
        row, column = np.rint(corner).astype(int)
        np.testing.assert_allclose(corner, [row, column], atol=1e-4)
        assert 0 <= min(row, column) <= max(row, column) <= len(whole) - side
        window = (slice(row, row + side), slice(column, column + side))
        # The canvas is whole pixels; what that cuts off an edge, the batch still shows.
        inside = padded(np.ones((canvas_side(side, turn),) * 2), int(side * 1.1))[window] > 0
        np.testing.assert_allclose(
            found[index, 0].numpy()[inside], whole[window][inside], atol=2e-4
        )
        assert found[index, 0].numpy()[~binary_dilation(inside)].max(initial=0) == 0


def test_positive_angles_turn_counter_clockwise():
    """A quarter turn takes the top right corner to the top left."""
    image = torch.zeros(1, 1, 4, 4)
    image[0, 0, 0, 3] = 1
    found = turn_and_shift(image, torch.tensor([torch.pi / 2]), torch.zeros(1, 2))
    assert found[0, 0, 0, 0].item() == pytest.approx(1, abs=1e-5)


def test_unrotated_crops_shift_by_up_to_three_pixels_of_128_equally_often():
    """int(128 x 1.05) = 134: seven places in each direction."""
    batch = torch.zeros(1, 1, 1, 1).expand(7000, 1, 128, 128)
    angle, shift = draw_pose(batch, 0, 1.05, generator())
    assert not angle.any()
    for axis in range(2):
        counts = Counter(shift[:, axis].tolist())
        assert sorted(counts) == [-3, -2, -1, 0, 1, 2, 3]
        assert min(counts.values()) > 880  # 1000 expected, deviation 29
    both = Counter(map(tuple, shift.tolist()))
    assert len(both) == 49


def test_at_ten_degrees_the_shift_reaches_ten_pixels():
    fixed = torch.full((1,), radians(10))
    canvas = canvas_side(128, float(fixed))
    assert (canvas - 128) / 2 == 10


def test_angles_are_uniform_up_to_the_setting():
    angle, _ = draw_pose(torch.zeros(4000, 1, 8, 8), 10, 1.05, generator())
    degrees = angle.rad2deg()
    assert degrees.abs().max() <= 10
    assert degrees.std().item() == pytest.approx(20 / 12**0.5, rel=0.03)
    assert degrees.mean().item() == pytest.approx(0, abs=0.3)


def test_noise_fills_the_range_and_is_mixed_in():
    """(1 - g) crop + g field: a black crop shows the field, from 0 to the gain, near its middle."""
    black = torch.zeros(2000, 1, 16, 16)
    found = add_noise(black, 0.3, 0.5, generator())
    gain = found.amax((1, 2, 3))
    assert found.amin() == 0
    assert gain.max() <= 0.3
    assert (gain > 0).float().mean().item() == pytest.approx(0.5, abs=0.04)
    assert gain[gain > 0].mean().item() == pytest.approx(0.15, abs=0.01)
    noisy = found[gain > 0]
    middle = noisy.mean((1, 2, 3)) / gain[gain > 0]
    assert middle.mean().item() == pytest.approx(0.5, abs=0.02)
    white = add_noise(torch.ones(2000, 1, 16, 16), 0.3, 0.5, generator())
    torch.testing.assert_close(white, found + 1 - gain.view(-1, 1, 1, 1), atol=1e-6, rtol=0)


def test_gamma_is_one_over_the_drawn_exponent():
    """out = in^(1 / gamma), so gamma 2 brightens: 0.25 becomes 0.5."""
    quarter = torch.full((4, 1, 2, 2), 0.25)
    found = change_gamma(quarter, (2.0, 2.0), 1.0, generator())
    torch.testing.assert_close(found, torch.full_like(found, 0.5))
    many = change_gamma(torch.full((4000, 1, 1, 1), 0.5), (0.5, 1.5), 0.5, generator())
    assert many.min() >= 0.5**2
    assert many.max() <= 0.5 ** (1 / 1.5)
    assert (many == 0.5).float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_without_changes_a_view_is_the_evaluation_view():
    image = images()
    found = random_view(image, NOTHING, generator())
    torch.testing.assert_close(found, evaluation_view(image), atol=1e-5, rtol=0)
    assert evaluation_view(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1, 1]


def test_every_crop_draws_its_own_amounts_and_equal_seeds_draw_alike():
    image = images(1, 1, seed=4).expand(3, 2, -1, -1)
    found = random_view(image, PUBLISHED, generator(5)).flatten(0, 1)
    assert found.dtype == torch.float32
    assert found.min() >= -1
    assert found.max() <= 1
    assert all(not torch.equal(found[a], found[b]) for a in range(6) for b in range(a))
    again = random_view(image, PUBLISHED, generator(5)).flatten(0, 1)
    assert torch.equal(found, again)


def test_half_precision_leaves_views_whole():
    plain = random_view(images(), PUBLISHED, generator())
    with torch.autocast("cpu", torch.bfloat16):
        half = random_view(images(), PUBLISHED, generator())
    assert torch.equal(plain, half)


def test_the_released_second_view_keeps_nothing_but_black():
    """Between -1 and 1 all becomes 0; -1 becomes 255 (sheet, section 6)."""
    view = torch.tensor([[-1.0, -0.999], [0.4, 0.999]]).view(1, 1, 2, 2)
    found = released_second_view(view, NOTHING, generator())
    torch.testing.assert_close(
        found.flatten(), torch.tensor([1.0, -1.0, -1.0, -1.0]), atol=1e-5, rtol=0
    )


def test_weak_views_have_half_the_ranges():
    assert weaker(PUBLISHED) == semixup(noise=0.15, rotation=5, pad=1.025, gamma=(0.75, 1.25))
    short = RadiographAugment.of(["medssl:RandTurnShiftd", "RandGaussianNoised"])
    assert weaker(short).plain == [
        {"medssl:RandTurnShiftd": {"rotation": 5, "pad": 1.025}},
        "RandGaussianNoised",
    ]


def test_smoothing_keeps_flat_crops_and_spreads_a_point():
    flat = torch.full((1, 1, 5, 5), 0.3)
    torch.testing.assert_close(smoothed(flat), flat)
    point = torch.zeros(1, 1, 5, 5)
    point[..., 2, 2] = 13
    assert smoothed(point)[0, 0, 1:4, 1:4].tolist() == [[1, 1, 1], [1, 5, 1], [1, 1, 1]]


def test_the_cutout_is_a_grey_square_of_at_most_a_quarter_of_the_side():
    found = cut_out(torch.ones(500, 1, 32, 32), 0.25, generator())[:, 0] == 0.5
    rows, columns = found.any(2).sum(1), found.any(1).sum(1)
    assert max(rows.max(), columns.max()) == 8
    assert torch.equal(found.sum((1, 2)), rows * columns)
    assert not cut_out(torch.ones(5, 1, 32, 32), 0.0, generator()).ne(1).any()


def test_strong_views_differ_more_than_weak_ones():
    smooth = torch.linspace(0, 255, 32).expand(20, 2, 32, 32).to(torch.uint8)
    plain = evaluation_view(smooth)
    apart = [
        (view - plain).abs().mean().item()
        for view in (
            random_view(smooth, weaker(PUBLISHED), generator()),
            random_view(smooth, PUBLISHED, generator()),
            strong_view(smooth, PUBLISHED, StrongAugment(), generator()),
        )
    ]
    assert apart == sorted(apart)
    assert apart[2] > 1.2 * apart[1]


def test_a_strong_view_without_changes_is_the_evaluation_view():
    still = StrongAugment(rotation=0, chance=0, cutout=0)
    found = strong_view(images(), NOTHING, still, generator())
    torch.testing.assert_close(found, evaluation_view(images()), atol=1e-5, rtol=0)


def test_contrast_and_sharpness_keep_what_their_amounts_say():
    image = images(40)
    plain = random_change(image, NOTHING, generator())
    for key in ("contrast", "sharpness"):
        amounts = {"contrast": (1.0, 1.0), "sharpness": (1.0, 1.0), key: (0.0, 0.0)}
        strong = StrongAugment(rotation=0, chance=1, cutout=0, **amounts)
        found = strong_view(image, NOTHING, strong, generator()).flatten(0, 1)
        if key == "contrast":
            assert found.std((1, 2)).max() < 1e-4
        else:
            expected = smoothed(plain)[:, 0] * 2 - 1
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("gamma", [(0.0, 1.0), (1.5, 0.5)])
def test_impossible_gammas_are_refused(gamma):
    with pytest.raises(ValueError, match="gamma goes from a positive number"):
        semixup(gamma=gamma)


def test_views_are_those_of_before_there_were_chains():
    """Written down from the code that had no chains."""
    tiny = torch.arange(0, 256, 8, dtype=torch.uint8).view(1, 2, 4, 4)
    found = {
        "view": random_view(tiny, PUBLISHED, generator()),
        "weak": random_view(tiny, weaker(PUBLISHED), generator()),
        "strong": strong_view(tiny, PUBLISHED, StrongAugment(), generator()),
    }
    kept = {
        "view": [-0.9117696285, -0.8756202459, -0.8086702824, -0.7712754011],
        "weak": [-0.9594556689, -0.9097706079, -0.8415873051, -0.7910599113],
        "strong": [-0.6646497250, -0.6556463242, -0.6444575787, -0.7233483791],
    }
    for name, first in kept.items():
        assert found[name].flatten()[:4].tolist() == pytest.approx(first, abs=1e-6)


def test_a_step_in_anyones_compose_is_the_batched_one():
    from monai.transforms import Compose

    from medssl.transforms import RandInverseGammad, RandMixNoised, RandTurnShiftd

    image = images(1)[0].float() / 255
    for step in (RandMixNoised("x"), RandTurnShiftd("x"), RandInverseGammad("x", prob=1)):
        found = Compose([step]).set_random_state(3)({"x": image, "y": 1})["x"]
        again = Compose([step]).set_random_state(3)({"x": image})["x"]
        assert found.shape == image.shape
        assert torch.equal(found, again)
        step.set_random_state(3)
        drawn = generator(int(step.R.randint(2**31)))
        expected = step.changed(image.unsqueeze(1), drawn).squeeze(1)
        step.set_random_state(3)
        assert torch.equal(step({"x": image})["x"], expected)


def test_random_transforms_of_monai_draw_for_each_crop_by_the_generator():
    chain = RadiographAugment.of(
        [{"RandGaussianNoised": {"prob": 1, "std": 0.1}}, {"RandFlipd": {"prob": 0.5}}]
    )
    image = images(1, 1, seed=4).expand(3, 2, -1, -1)
    found = random_view(image, chain, generator(5)).flatten(0, 1)
    assert all(not torch.equal(found[a], found[b]) for a in range(6) for b in range(a))
    assert torch.equal(found, random_view(image, chain, generator(5)).flatten(0, 1))
    assert not torch.equal(found, random_view(image, chain, generator(6)).flatten(0, 1))


def test_words_and_transforms_of_monai_follow_each_other():
    chain = RadiographAugment.of(["semixup", {"Flipd": {"spatial_axis": 1}}])
    found = random_view(images(), chain, generator(2))
    assert torch.equal(found, random_view(images(), PUBLISHED, generator(2)).flip(-1))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"RandSpatialCropd": {"roi_size": [8, 8]}}, "RandSpatialCropd changes the size of crops"),
        ({"RandZoomd": {"prob": 1, "keep_size": False}}, "changes the size of crops; 1x32x32 bec"),
        ({"ScaleIntensityRanged": {"a_min": 0, "a_max": 1e-45, "b_min": 0, "b_max": 1}},
         "ScaleIntensityRanged makes values that are not finite"),
        ({"medssl:RandInverseGammad": {"gamma": [2, 1]}}, "cannot be made of"),
        ({"SpatialPadd": {"spatial_size": [1, 2, 3]}}, "the transform SpatialPadd failed"),
    ],
)  # fmt: skip
def test_a_chain_that_does_not_leave_crops_is_told_before_training(given, words):
    with pytest.raises(UsageError, match=words):
        must_keep_crops(RadiographAugment.of(given), 32)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"noise": 0.1}, "noise is a key of semixup; write {semixup: {noise: ...}}"),
        ({"semixup": {"nois": 0.1}}, "did you mean 'semixup.noise'"),
        ("standard", "no transform is called 'standard'"),
    ],
)
def test_keys_that_no_chain_has_are_refused(given, words):
    with pytest.raises(ValueError, match=words):
        RadiographAugment.of(given)


@pytest.fixture(scope="module")
def knees(shared_data: Path) -> torch.Tensor:
    """Joint crops [50, 2, 64, 64] of real knees, cut as the sheet's section 17 says."""
    folder = shared_data / "knee"
    with (folder / "labels.csv").open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == "train_pool"][:50]
    found = []
    for row in rows:
        name = row["file"] if "/" in row["file"] else f"images/{row['file']}"
        pixels = np.asarray(Image.open(folder / name), np.float64)
        if row["side_inferred"] == "L":
            pixels = pixels[:, ::-1]
        low, high = np.percentile(pixels, (5, 99))
        grey = ((pixels.clip(low, high) - low) / (high - low) * 255).astype(np.uint8)
        halves = grey[42:98, :56], grey[42:98, ::-1][:, :56]
        found.append([np.asarray(Image.fromarray(half).resize((64, 64))) for half in halves])
    return torch.from_numpy(np.array(found))


def correlation(first: torch.Tensor, second: torch.Tensor) -> float:
    """Mean over crops of Pearson's, over pixels."""
    rows = zip(first.flatten(0, 1).flatten(1), second.flatten(0, 1).flatten(1), strict=True)
    return float(np.mean([np.corrcoef(a.numpy(), b.numpy())[0, 1] for a, b in rows]))


def test_check_12_two_draws_show_the_same_knee_and_the_released_second_view_does_not(knees):
    first = random_view(knees, PUBLISHED, generator(0))
    second = random_view(knees, PUBLISHED, generator(1))
    released = released_second_view(first, PUBLISHED, generator(1))
    for view in (first, second, released):
        assert view.min() >= -1
        assert view.max() <= 1
    assert not torch.equal(first, second)
    assert correlation(first, second) > 0.4
    assert correlation(first, released) < 0
