"""Strong views: what changes, by how much, and that nothing moves."""

import numpy as np
import pytest
import torch
from torch import Tensor

from medssl.methods.segment.strong_settings import Blur, Colour, Field3d, Linear, Speckle, Strong
from medssl.methods.segment.strong_view import (
    TERMS,
    blurred,
    colour,
    field_and_gamma,
    linear,
    strong_view,
)

ALL = Strong(
    linear=Linear(probability=1),
    colour=Colour(probability=1),
    field=Field3d(probability=1),
    blur=Blur(probability=1),
    noise=Speckle(probability=1),
)


def patches(*shape: int) -> Tensor:
    return torch.randn(
        shape or (2, 2, 8, 6, 5), generator=torch.Generator().manual_seed(0)
    ).double()


def view(image: Tensor, seed: int = 0, **changes) -> Tensor:
    return strong_view(image, Strong(**changes), torch.Generator().manual_seed(seed))


def test_nothing_is_changed_without_a_chance():
    assert torch.equal(view(patches()), patches())


def test_linear_by_hand():
    """AD-MT: x a + b mean, of values between 0 and 1."""
    unit = torch.tensor([0.0, 0.5, 1.0]).double().reshape(1, 3, 1, 1)
    found = linear(unit, 0.5, -0.5).flatten().tolist()
    assert found == pytest.approx([-0.25, 0.5, 1.25])


def test_colour_by_hand():
    """Brightness 1.5 makes 0, .75, 1 (clipped); contrast 0.5 halves distances to their mean."""
    unit = torch.tensor([0.0, 0.5, 1.0]).double().reshape(1, 3, 1, 1)
    mean = 1.75 / 3
    found = colour(unit, -0.5, 0.5).flatten().tolist()
    assert found == pytest.approx([mean / 2, (0.75 + mean) / 2, (1 + mean) / 2])


def test_a_field_by_hand():
    """exp(x / 2) along the first axis, then a square root."""
    coefficients = np.zeros(len(TERMS))
    coefficients[TERMS.index((1, 0, 0))] = 0.5
    unit = torch.full((1, 3, 1, 1), 0.25).double()
    found = field_and_gamma(unit, coefficients, np.log(0.5)).flatten()
    expected = (0.25 * torch.tensor([-0.5, 0.0, 0.5]).double().exp()).sqrt()
    torch.testing.assert_close(found, expected)


def test_a_blur_keeps_a_constant_and_lowers_the_spread():
    constant = torch.full((1, 6, 6, 6), 3.0).double()
    torch.testing.assert_close(blurred(constant, 1.5), constant, rtol=1e-6, atol=0)
    assert blurred(patches()[0], 1.0).std() < 0.5 * patches()[0].std()


@pytest.mark.parametrize("name", ["linear", "colour", "field"])
def test_intensities_stay_in_the_range_of_their_channel(name):
    image = patches()
    changed = view(image, **{name: {"probability": 1}})
    assert not torch.equal(changed, image)
    axes = (2, 3, 4)
    assert bool((changed.amin(axes) >= image.amin(axes) - 1e-12).all())
    assert bool((changed.amax(axes) <= image.amax(axes) + 1e-12).all())


def test_noise_has_a_deviation_of_its_own_for_each_item_and_is_clipped_at_twice_it():
    image = torch.zeros(40, 1, 8, 8, 8).double()
    found = view(image, noise={"probability": 1, "deviation": [0.1, 1.0]})
    most = found.abs().amax((1, 2, 3, 4)) / 2  # of 512 draws some are clipped
    assert 0.1 <= most.min() < 0.2
    assert 0.9 < most.max() <= 1.0


def test_the_chance_is_that_of_each_item():
    image = patches(400, 1, 2, 2, 2)
    changed = view(image, linear={"probability": 0.3})
    share = (changed != image).flatten(1).any(1).double().mean().item()
    assert share == pytest.approx(0.3, abs=0.07)


def test_equal_seeds_give_equal_views_and_the_image_stays():
    image = patches()
    views = [strong_view(image, ALL, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])
    assert torch.equal(image, patches())


@pytest.mark.parametrize("shape", [(2, 1, 8, 8, 1), (1, 1, 4, 4, 4)])
def test_flat_and_constant_patches_stay_finite(shape):
    for image in (patches(*shape), torch.ones(shape)):
        found = strong_view(image, ALL, torch.Generator().manual_seed(0))
        assert found.shape == image.shape
        assert found.dtype == image.dtype
        assert bool(found.isfinite().all())
