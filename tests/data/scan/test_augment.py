"""Intensity changes of scans against plain formulas, and how often and how far they act."""

import numpy as np
import pytest
import torch
from numpy.polynomial.legendre import legval3d
from scipy.ndimage import gaussian_filter1d
from torch.nn.functional import interpolate

from medssl.data.scan import augment as scan_augment
from medssl.data.scan.augment import (
    COEFFICIENTS,
    blur,
    change_intensity,
    correct_gamma,
    lower_resolution,
    multiply_bias,
    ring,
    scale_about_mean,
)
from medssl.data.scan.settings import IntensitySettings

OFF = IntensitySettings(scale_chance=0, noise_chance=0, artefact_chance=0, gamma_or_zoom_chance=0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scans(count: int, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 1, *(shape or (6, 6, 6)), generator=generator(seed))


def only(image: torch.Tensor, seed: int = 0, **keys) -> torch.Tensor:
    return change_intensity(image, OFF.model_copy(update=keys), generator(seed))


def mean(image: torch.Tensor) -> torch.Tensor:
    return image.mean((1, 2, 3, 4))


def test_chances_of_0_change_nothing():
    image = scans(20)
    assert torch.equal(change_intensity(image, OFF, generator()), image)


def test_equal_generators_give_equal_scans_and_the_input_stays():
    image, state = scans(30), torch.get_rng_state()
    before = image.clone()
    one, same, other = (
        change_intensity(image, IntensitySettings(), generator(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(image, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert one.isfinite().all()
    assert one.shape == image.shape


def test_each_scan_draws_for_itself():
    image = scans(1).expand(40, -1, -1, -1, -1)
    found = change_intensity(image, IntensitySettings(), generator())
    assert len({scan.numpy().tobytes() for scan in found}) == 40


def test_what_is_drawn_does_not_depend_on_what_happens():
    """So that switching one change off leaves the others as they were."""
    image = scans(50)
    alone = only(image, scale_chance=0.8)
    both = only(image, scale_chance=0.8, gamma_or_zoom_chance=1.0)
    torch.testing.assert_close(
        only(alone, gamma_or_zoom_chance=1.0), both, rtol=0, atol=1e-5
    )  # fmt: skip


@pytest.mark.parametrize("probability", [0.25, 1.0])
@pytest.mark.parametrize("name", ["scale_chance", "noise_chance", "artefact_chance"])
def test_each_change_happens_as_often_as_asked(name, probability):
    image = scans(1500)
    changed = (only(image, **{name: probability}) - image).abs().amax((1, 2, 3, 4)) > 0
    assert changed.float().mean() == pytest.approx(probability, abs=0.04)


def test_scaling_keeps_the_mean_and_reaches_as_far_as_asked():
    image = scans(2000) + 3
    found = only(image, scale_chance=1.0)
    torch.testing.assert_close(mean(found), mean(image), atol=1e-4, rtol=0)
    factor = found.std((1, 2, 3, 4)) / image.std((1, 2, 3, 4))
    assert 0.9 - 1e-4 <= factor.min() < 0.902
    assert 1.098 < factor.max() <= 1.1 + 1e-4
    torch.testing.assert_close(
        scale_about_mean(torch.tensor([1.0, 3.0]).view(1, 1, 1, 1, 2), torch.tensor([1.5])),
        torch.tensor([0.5, 3.5]).view(1, 1, 1, 1, 2),
    )


def test_noise_has_the_deviation_asked_for():
    image = scans(200)
    noise = only(image, noise_chance=1.0, noise=0.25) - image
    assert noise.std() == pytest.approx(0.25, rel=0.01)
    assert noise.mean() == pytest.approx(0, abs=0.01)


def recorded(monkeypatch, *names):
    """Calls of the changes, by name: how many scans, and their amounts."""
    seen = {name: [] for name in names}
    for name in names:
        change = getattr(scan_augment, name)

        def record(image, amount, name=name, change=change):
            seen[name] += list(amount)
            return change(image, amount)

        monkeypatch.setattr(scan_augment, name, record)
    return seen


def test_of_the_artefacts_one_at_most_happens_each_a_third_of_the_time(monkeypatch):
    seen = recorded(monkeypatch, "blur", "multiply_bias", "ring")
    only(scans(3000, 3, 3, 3), artefact_chance=0.7)
    for amounts in seen.values():
        assert len(amounts) == pytest.approx(700, abs=80)
    sigma, bias, cut_off = (torch.stack(amounts) for amounts in seen.values())
    for drawn, low, high in ((sigma, 0.5, 1.0), (bias, 0, 0.05), (cut_off, 0.2, 0.4)):
        span = high - low
        assert low <= drawn.min() < low + 0.02 * span
        assert high - 0.02 * span < drawn.max() <= high
    assert sigma.shape[1] == 3
    assert bias.shape[1] == len(COEFFICIENTS) == 20


def test_gamma_or_zoom_happens_and_zoom_acts_in_half(monkeypatch):
    seen = recorded(monkeypatch, "correct_gamma", "lower_resolution")
    only(scans(3000, 3, 3, 3), gamma_or_zoom_chance=1.0)
    gamma, zoom = (torch.stack(amounts) for amounts in seen.values())
    assert len(gamma) == pytest.approx(1500, abs=100)
    assert len(zoom) == pytest.approx(750, abs=100)
    for drawn, low, high in ((gamma, 0.9, 1.1), (zoom, 0.8, 1.0)):
        assert low <= drawn.min() < low + 0.005
        assert high - 0.005 < drawn.max() <= high
    seen["lower_resolution"].clear()
    only(scans(300, 3, 3, 3), gamma_or_zoom_chance=1.0, zoom_chance=0.0)
    assert seen["lower_resolution"] == []


def test_blur_is_the_gaussian_of_each_scans_own_width_along_each_axis():
    image = scans(3, 17, 18, 19)
    sigma = torch.tensor([[0.5, 0.7, 1.0], [1.0, 1.0, 1.0], [0.6, 0.5, 0.9]])
    found = blur(image, sigma)
    inner = (slice(6, -6),) * 3
    for item in range(3):
        expected = image[item, 0].numpy().astype(np.float64)
        for axis in range(3):
            width = float(sigma[item, axis])
            expected = gaussian_filter1d(expected, width, axis, radius=6)
        np.testing.assert_allclose(found[item, 0][inner], expected[inner], atol=1e-5)


def test_blur_keeps_what_is_constant_up_to_the_border():
    image = torch.full((2, 1, 6, 5, 4), 0.3)
    torch.testing.assert_close(blur(image, torch.full((2, 3), 0.8)), image)


def test_the_bias_field_is_the_exponential_of_a_legendre_polynomial():
    image = scans(2, 6, 5, 4)
    coefficients = torch.rand(2, 20, generator=generator()) * 0.05
    found = multiply_bias(image, coefficients)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (6, 5, 4)), indexing="ij")
    for item in range(2):
        cube = np.zeros((4, 4, 4))
        for place, value in zip(COEFFICIENTS, coefficients[item], strict=True):
            assert sum(place) <= 3
            cube[place] = value
        field = np.exp(legval3d(x, y, z, cube))
        np.testing.assert_allclose(found[item, 0] / image[item, 0], field, rtol=1e-4)


def test_ringing_cuts_off_high_frequencies_and_keeps_the_mean():
    image = scans(2, 12, 16, 15)
    cut_off = torch.tensor([0.2, 0.4])
    found = ring(image, cut_off)
    torch.testing.assert_close(mean(found), mean(image), atol=1e-5, rtol=0)
    frequencies = np.meshgrid(*(np.fft.fftfreq(n) for n in (12, 16, 15)), indexing="ij")
    radius = np.sqrt(sum(f**2 for f in frequencies))
    for item in range(2):
        before, after = (np.fft.fftn(x[item, 0].numpy()) for x in (image, found))
        kept = radius <= (1 - float(cut_off[item])) * np.sqrt(0.5)
        np.testing.assert_allclose(after, before * kept, atol=1e-3)
        assert 0 < kept.mean() < 1


def test_nothing_cut_off_but_the_corners_of_k_space_leaves_smooth_scans():
    x = torch.arange(16) * 2 * torch.pi / 16
    image = torch.cos(3 * x).view(1, 1, 16, 1, 1).expand(1, 1, 16, 8, 8)
    torch.testing.assert_close(ring(image, torch.zeros(1)), image, atol=1e-5, rtol=0)


def test_gamma_acts_on_the_scans_own_range_which_it_keeps():
    image = torch.tensor([-1.0, 0.0, 1.0, 3.0]).view(1, 1, 1, 1, 4)
    found = correct_gamma(image, torch.tensor([2.0]))
    assert found.flatten().tolist() == pytest.approx([-1, -0.75, 0, 3])
    torch.testing.assert_close(correct_gamma(image, torch.ones(1)), image)
    flat = torch.full((1, 1, 2, 2, 2), 5.0)
    assert torch.equal(correct_gamma(flat, torch.tensor([1.1])), flat)


@pytest.mark.parametrize("shape", [(10, 10, 10), (16, 9, 12)])
def test_low_resolution_is_nearest_down_and_linear_up(shape):
    image = scans(3, *shape)
    zoom = torch.tensor([0.8, 0.93, 1.0])
    found = lower_resolution(image, zoom)
    for item in range(3):
        small = [round(n * float(zoom[item])) for n in shape]
        low = interpolate(image[item : item + 1], size=small, mode="nearest-exact")
        expected = interpolate(low, size=shape, mode="trilinear", align_corners=False)
        torch.testing.assert_close(found[item : item + 1], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(found[2], image[2])


def test_half_precision_around_it_leaves_single_precision_inside():
    image = scans(20, 8, 8, 8)
    plain = change_intensity(image, IntensitySettings(), generator())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = change_intensity(image, IntensitySettings(), generator())
    assert torch.equal(found, plain)
