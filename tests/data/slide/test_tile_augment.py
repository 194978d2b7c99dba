"""Random views of tiles against Pillow, torch, colorsys and plain counting."""

import colorsys
from collections import Counter
from dataclasses import replace
from math import exp, log

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from medssl.data.slide.tile_augment import (
    View,
    blur,
    chance,
    crop,
    draw_boxes,
    draw_view,
    jitter,
    luma,
    turn_hue,
)

WHOLE = (1.0, 1.0)
PLAIN = View(8, WHOLE, flip=0, jitter=0, grey=0, blur=0, solarise=0)
"""Nothing but the crop."""


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tiles(count: int, side: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=generator(seed))


BOXES = torch.tensor([[0, 0, 32, 32], [3, 5, 20, 27], [30, 31, 2, 1], [4, 4, 8, 8]]).float()


@pytest.mark.parametrize("side", [5, 8, 24, 40])
def test_a_crop_is_the_box_resized_bicubically_with_antialiasing(side):
    image = tiles(4, 32)
    found = crop(image, BOXES, side)
    for item, (top, left, high, wide) in enumerate(BOXES.int().tolist()):
        box = image[item : item + 1, :, top : top + high, left : left + wide]
        expected = interpolate(box, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
        torch.testing.assert_close(found[item : item + 1], expected, rtol=0, atol=1e-5)


def test_a_crop_is_what_pillow_makes_of_it():
    """To a grey level: Pillow rounds between the axes."""
    plain = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    image = torch.from_numpy(plain).permute(2, 0, 1)[None] / 255
    found = crop(image, torch.tensor([[3.0, 5.0, 20.0, 24.0]]), 12)[0] * 255
    pillow = Image.fromarray(plain).crop((5, 3, 29, 23)).resize((12, 12), Image.Resampling.BICUBIC)
    expected = torch.from_numpy(np.array(pillow)).permute(2, 0, 1).float()
    torch.testing.assert_close(found, expected, rtol=0, atol=1.6)


def test_a_box_of_the_tiles_own_size_leaves_it_as_it_is():
    image = tiles(1, 8)
    torch.testing.assert_close(draw_view(image, PLAIN, generator()), image)


@pytest.mark.parametrize("scale", [(0.05, 0.4), (0.4, 1.0)])
def test_boxes_lie_in_the_tile_with_the_wanted_area_and_aspect(scale):
    boxes = draw_boxes(4000, 256, scale, torch.zeros(()), generator())
    top, left, high, wide = boxes.T
    assert torch.equal(boxes, boxes.round())
    assert (top.min(), left.min()) == (0, 0)
    assert (top + high).max() == (left + wide).max() == 256
    share, aspect = high * wide / 256**2, wide / high
    assert share.min() > scale[0] - 0.01
    assert share.max() <= scale[1] + 0.01
    assert 0.74 < aspect.min() < 0.8
    assert 1.28 < aspect.max() < 1.35
    assert abs(aspect.log().mean()) < 0.01


def test_small_boxes_have_uniform_area_and_place():
    """Where every box fits, nothing is drawn again: mean share and mean place are the middles."""
    boxes = draw_boxes(20_000, 1000, (0.05, 0.4), torch.zeros(()), generator())
    top, _, high, wide = boxes.T
    assert (high * wide / 1e6).mean() == pytest.approx(0.225, abs=0.003)
    assert (top / (1000 - high)).mean() == pytest.approx(0.5, abs=0.01)


def test_where_no_box_fits_the_whole_tile_is_taken():
    """Only an aspect of exactly 1 fits a share of 1; on many pixels it is never drawn."""
    boxes = draw_boxes(50, 10_000, WHOLE, torch.zeros(()), generator())
    assert torch.equal(boxes, torch.tensor([[0.0, 0.0, 10_000, 10_000]]).expand(50, 4))


def test_hues_turn_as_in_hsv():
    image = tiles(6, 5, seed=1).double()
    turn = torch.linspace(-0.5, 0.4, 6, dtype=torch.float64).view(6, 1, 1, 1)
    found = turn_hue(image, turn)
    for item in range(6):
        pixels = zip(image[item].flatten(1).T, found[item].flatten(1).T, strict=True)
        for before, after in pixels:
            hue, saturation, value = colorsys.rgb_to_hsv(*before.tolist())
            expected = colorsys.hsv_to_rgb((hue + turn[item].item()) % 1, saturation, value)
            assert after.tolist() == pytest.approx(expected, abs=1e-12)


def test_greys_have_no_hue_to_turn():
    grey = torch.linspace(0, 1, 11).view(1, 1, 1, 11).expand(1, 3, 1, 11)
    assert torch.equal(turn_hue(grey, torch.full((1, 1, 1, 1), 0.3)), grey)


def test_brightness_is_weighed_as_the_eye_does():
    primaries = torch.eye(3)[:, :, None, None]
    assert luma(primaries).flatten().tolist() == pytest.approx([0.2989, 0.587, 0.114])


def test_brightness_alone_is_a_factor_per_image():
    image = torch.full((2000, 3, 2, 2), 0.5)
    factor = jitter(image, (0.4, 0, 0, 0), generator())[:, 0, 0, 0] / 0.5
    assert 0.6 <= factor.min() < 0.61
    assert 1.39 < factor.max() <= 1.4
    assert factor.mean() == pytest.approx(1, abs=0.02)


def test_contrast_alone_stretches_about_the_mean_brightness():
    image = 0.5 + 0.1 * torch.tensor([-1.0, 1.0]).view(1, 1, 1, 2).expand(2000, 3, 2, 2)
    found = jitter(image, (0, 0.4, 0, 0), generator())
    torch.testing.assert_close(
        luma(found).mean((1, 2, 3)), luma(image).mean((1, 2, 3)), atol=1e-4, rtol=0
    )
    half = (found[:, 0, 0, 1] - found[:, 0, 0, 0]) / 2
    assert 0.06 <= half.min() < 0.061
    assert 0.139 < half.max() <= 0.1401


def test_saturation_alone_keeps_the_brightness_of_every_pixel():
    image = 0.4 + 0.2 * tiles(500, 2)
    found = jitter(image, (0, 0, 0.2, 0), generator())
    torch.testing.assert_close(luma(found), luma(image), atol=1e-4, rtol=0)
    colour = (found - luma(found))[:, 0] / (image - luma(image))[:, 0]
    spread = colour[(image - luma(image))[:, 0].abs() > 0.01]
    assert 0.799 < spread.min() < 0.81
    assert 1.19 < spread.max() < 1.201


def test_no_strength_changes_nothing():
    image = tiles(5, 4)
    torch.testing.assert_close(jitter(image, (0, 0, 0, 0), generator()), image)


def test_the_order_of_the_changes_is_drawn():
    """Brightness clipped at white before contrast is not the same as after it."""
    image = torch.tensor([0.1, 0.9]).view(1, 1, 1, 2).expand(1, 3, 1, 2)

    def brighter(x, factor):
        return (x * factor).clamp(0, 1)

    def starker(x, factor):
        return (factor * x + (1 - factor) * luma(x).mean()).clamp(0, 1)

    seen = Counter()
    for seed in range(40):
        found = jitter(image, (0.9, 0.9, 0, 0), generator(seed))
        g = generator(seed)
        bright, stark = (0.1 + 1.8 * torch.rand(1, generator=g) for _ in range(2))
        first = starker(brighter(image, bright), stark)
        second = brighter(starker(image, stark), bright)
        seen[torch.allclose(found, first, atol=1e-3), torch.allclose(found, second, atol=1e-3)] += 1
    assert seen[False, False] == 0
    assert seen[True, False] > 5
    assert seen[False, True] > 5


def test_blur_of_an_impulse_is_the_gaussian_of_each_images_own_width():
    image = torch.zeros(2, 3, 15, 15)
    image[:, :, 7, 7] = 1
    found = blur(image, torch.tensor([0.5, 2.0]), 6)
    for item, sigma in enumerate((0.5, 2.0)):
        taps = np.array([exp(-0.5 * (x / sigma) ** 2) for x in range(-6, 7)])
        expected = np.outer(taps, taps) / taps.sum() ** 2
        torch.testing.assert_close(
            found[item, 1, 1:14, 1:14], torch.from_numpy(expected).float(), rtol=0, atol=1e-6
        )


def test_blur_keeps_what_is_constant_up_to_the_border():
    image = torch.full((1, 3, 9, 9), 0.3)
    torch.testing.assert_close(blur(image, torch.tensor([2.0]), 6), image)


@pytest.mark.parametrize("name", ["flip", "jitter", "grey", "blur", "solarise"])
@pytest.mark.parametrize("probability", [0.2, 1.0])
def test_each_change_happens_as_often_as_asked(name, probability):
    image = tiles(1500, 4)
    view = replace(PLAIN, side=4, sigma=(1.0, 2.0), **{name: probability})
    changed = (draw_view(image, view, generator()) - image).abs().amax((1, 2, 3)) > 1e-3
    assert changed.float().mean() == pytest.approx(probability, abs=0.04)


def test_flip_grey_and_solarise_are_what_they_say():
    image = tiles(4, 4)

    def only(name):
        return draw_view(image, replace(PLAIN, side=4, **{name: 1.0}), generator())

    torch.testing.assert_close(only("flip"), image.flip(3))
    torch.testing.assert_close(only("grey"), luma(image).expand(-1, 3, -1, -1))
    torch.testing.assert_close(only("solarise"), torch.where(image < 0.5, image, 1 - image))


def test_views_are_drawn_by_the_generator_alone():
    image, view = tiles(3, 32), View(16, (0.4, 1.0), solarise=0.2)
    before, state = image.clone(), torch.get_rng_state()
    first, same, other = (draw_view(image, view, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert torch.equal(image, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_views_have_the_wanted_side_and_stay_between_black_and_white():
    for side, scale in ((16, (0.4, 1.0)), (12, (0.05, 0.4))):
        found = draw_view(tiles(64, 32), View(side, scale, solarise=0.2), generator())
        assert found.shape == (64, 3, side, side)
        assert found.min() >= 0
        assert found.max() <= 1


def test_chance_is_per_image():
    drawn = chance(torch.zeros(4000, 3, 1, 1), 0.3, generator())
    assert drawn.shape == (4000, 1, 1, 1)
    assert drawn.float().mean() == pytest.approx(0.3, abs=0.03)


def test_aspects_are_log_uniform():
    """A quarter of the aspects lies below the quarter point of the logarithm."""
    boxes = draw_boxes(8000, 4000, (0.1, 0.2), torch.zeros(()), generator())
    aspect = boxes[:, 3] / boxes[:, 2]
    quarter = exp(log(3 / 4) + 0.25 * (log(4 / 3) - log(3 / 4)))
    assert (aspect < quarter).float().mean() == pytest.approx(0.25, abs=0.02)
