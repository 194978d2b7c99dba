"""Random intensity changes: their size, that views share them, and that nothing else moves."""

import pytest
import torch

from medssl.data.augment import augment
from medssl.settings import AugmentSettings

ITEMS, VIEWS = 64, 2


@pytest.fixture
def image():
    """[B, V, C, X, Y, Z] between 1 and 2."""
    g = torch.Generator().manual_seed(0)
    return 1 + torch.rand(ITEMS, VIEWS, 1, 3, 3, 3, generator=g)


def changed(image, seed=0, **settings):
    return augment(image, AugmentSettings(**settings), torch.Generator().manual_seed(seed))


def test_nothing_asked_for_is_nothing_done(image):
    assert changed(image, rot90=True, flip="half") is image


def test_brightness_is_one_factor_per_item_shared_by_its_views(image):
    factors = changed(image, brightness=0.25) / image
    first = factors[:, 0, 0, 0, 0, 0]
    torch.testing.assert_close(factors, first.reshape(-1, 1, 1, 1, 1, 1).expand_as(factors))
    assert float(first.min()) >= 0.75
    assert float(first.max()) <= 1.25
    assert float(first.max() - first.min()) > 0.4
    assert len(first.unique()) == ITEMS


def test_gamma_keeps_range_and_order_of_each_item(image):
    bent = changed(image, gamma=0.5)
    for before, after in zip(image, bent, strict=True):
        torch.testing.assert_close(after.min(), before.min())
        torch.testing.assert_close(after.max(), before.max())
        assert torch.equal(before.flatten().argsort(), after.flatten().argsort())
    assert float((bent - image).abs().amax()) > 0.05


def test_gamma_leaves_a_constant_item_as_it_is():
    flat = torch.full((2, 1, 1, 2, 2, 2), 3.0)
    torch.testing.assert_close(changed(flat, gamma=0.5), flat)


def test_noise_has_the_size_asked_for_and_differs_between_views(image):
    noise = changed(image, noise=0.1) - image
    assert float(noise.std()) == pytest.approx(0.1, rel=0.05)
    assert float(noise.mean()) == pytest.approx(0, abs=0.01)
    assert not torch.equal(noise[:, 0], noise[:, 1])


def test_intensities_stay_in_the_interval_after_all_changes(image):
    kept = changed(image, brightness=0.5, noise=0.5, clip=(0.9, 1.5))
    assert (float(kept.min()), float(kept.max())) == (pytest.approx(0.9), 1.5)


def test_the_generator_alone_decides(image):
    every = {"brightness": 0.2, "gamma": 0.2, "noise": 0.1}
    before = torch.random.get_rng_state()
    assert torch.equal(changed(image, **every), changed(image, **every))
    assert not torch.equal(changed(image, **every), changed(image, seed=1, **every))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_batch_given_is_not_written_to(image):
    before = image.clone()
    changed(image, brightness=0.2, gamma=0.2, noise=0.1, clip=(0, 1))
    assert torch.equal(image, before)
