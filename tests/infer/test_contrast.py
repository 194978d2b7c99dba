"""Contrast in the middle of a scan: what scanners leave alone, and what a sequence changes."""

import numpy as np
import pytest

from medssl.infer.contrast import contrast

PATCH = (16, 16, 8)


def _tissue() -> np.ndarray:
    """Smooth in planes, as soft tissue is, with noise; [1, 60, 48, 30] float32."""
    x, y, z = np.meshgrid(*(np.linspace(0, 6, side) for side in (60, 48, 30)), indexing="ij")
    noise = np.random.default_rng(0).normal(size=x.shape)
    return np.float32(np.sin(x) + np.cos(y) + 0.2 * np.sin(z) + 0.05 * noise)[None]


def _lines(value: float) -> np.ndarray:
    """The same with thin lines, as vessels are where they are bright."""
    image = _tissue()
    image[0, ::7] = value
    return image


def test_brightness_and_contrast_do_not_matter() -> None:
    np.testing.assert_allclose(
        contrast(7 * _tissue() + 100, PATCH), contrast(_tissue(), PATCH), atol=1e-3
    )


def test_intensities_are_told_between_the_darkest_and_the_brightest_hundredth() -> None:
    ramp = np.broadcast_to(np.linspace(0, 1, 900, dtype=np.float32)[:, None, None], (900, 9, 9))
    found = contrast(ramp[None], (9, 9, 9))
    np.testing.assert_allclose(found[:5], (np.array([5, 25, 50, 75, 95]) - 1) / 98, atol=0.01)
    np.testing.assert_allclose(found[5:], 0, atol=0.05)  # no fine structure leans to a side


def test_thin_bright_lines_lean_up_and_dark_ones_down_at_the_finest_size() -> None:
    plain, bright, dark = (contrast(one, PATCH)[5:7] for one in (_tissue(), _lines(9), _lines(-9)))
    assert (bright > plain + 0.2).all()
    assert (dark < plain - 0.2).all()


def test_what_is_outside_the_middle_is_not_seen() -> None:
    image = _tissue()
    changed = image.copy()
    changed[:, :12] = changed[:, :, :10] = changed[:, :, :, 21:] = 50  # thirds less four voxels
    np.testing.assert_array_equal(contrast(changed, PATCH), contrast(image, PATCH))


def test_planes_lie_across_the_shortest_side_of_a_window() -> None:
    image = _lines(9)
    turned = np.moveaxis(image, 3, 1)
    np.testing.assert_allclose(contrast(turned, (8, 16, 16)), contrast(image, PATCH), atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 40, 32, 1), (2, 3, 2, 1), (3, 1, 1, 1)])
def test_flat_and_tiny_images_have_numbers(shape: tuple[int, int, int, int]) -> None:
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = contrast(image, (32, 32, 1))
    assert found.shape == (11 * shape[0],)
    assert (np.abs(found) <= 1).all()
    assert not contrast(np.ones(shape, np.float32), (32, 32, 1)).any()
