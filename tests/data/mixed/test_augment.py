"""Random views: one draw per volume, crops, the values of each change, and the order of slices."""

import pytest
import torch

from medssl.data.mixed.augment import draw_affine, random_view, reverse_some
from medssl.data.mixed.settings import SliceAugment

STILL = SliceAugment(rotation=0, scale=0, shift=0, flip=0, gain=0, offset=0, blur=0, noise=0)


def g(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stack(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=g(9))


def only(**changes) -> SliceAugment:
    return STILL.model_copy(update=changes)


def test_without_changes_a_view_is_the_image():
    given = stack(2, 3, 8, 8)
    torch.testing.assert_close(random_view(given, STILL, 8, g()), given)


def test_all_slices_of_a_volume_change_alike_and_volumes_differ():
    one = stack(1, 1, 16, 16)
    given = one.expand(2, 5, 16, 16)
    found = random_view(given, SliceAugment(noise=0), 16, g())
    for place in range(1, 5):
        assert torch.equal(found[0, place], found[0, 0])
    assert not torch.allclose(found[0], found[1])
    noisy = random_view(given, only(noise=0.1), 16, g())
    assert not torch.equal(noisy[0, 0], noisy[0, 1])
    assert (noisy - given).std().item() == pytest.approx(0.1, rel=0.1)


def test_a_flip_mirrors_left_and_right():
    given = stack(40, 1, 8, 8)
    torch.testing.assert_close(random_view(given, only(flip=1.0), 8, g()), given.flip(-1))
    found = random_view(given, only(flip=0.5), 8, g())
    mirrored = [
        bool(torch.allclose(a, b.flip(-1), atol=1e-5)) for a, b in zip(found, given, strict=True)
    ]
    assert 8 < sum(mirrored) < 32


def test_gain_and_offset_stay_within_their_limits():
    given = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).expand(200, 1, 2, 2).contiguous()
    found = random_view(given, only(gain=0.2, offset=0.3), 2, g())
    offset, gain = found[:, 0, 0, 0], found[:, 0, 0, 1] - found[:, 0, 0, 0]
    assert -0.3 <= offset.min() < -0.25
    assert 0.25 < offset.max() <= 0.3
    assert 0.8 - 1e-5 <= gain.min() < 0.83
    assert 1.17 < gain.max() <= 1.2 + 1e-5


def test_turns_scales_and_shifts_stay_within_their_limits():
    many = torch.zeros(500, 1, 4, 4)
    turned = draw_affine(many, only(rotation=17.0), (1.0, 1.0), g())
    angle = torch.atan2(turned[:, 1, 0], turned[:, 0, 0]).rad2deg()
    assert 16 < angle.abs().max() <= 17.001
    moved = draw_affine(many, only(shift=0.1, scale=0.05), (1.0, 1.0), g())
    assert 0.095 < moved[:, :, 2].abs().max() <= 0.1
    assert 0.95 <= moved[:, 0, 0].min() < 0.955
    assert 1.045 < moved[:, 0, 0].max() <= 1.05


def test_a_crop_shows_its_share_of_the_area_and_lies_within():
    many = torch.zeros(500, 1, 4, 4)
    found = draw_affine(many, STILL, (0.25, 0.25), g())
    wide, high = found[:, 0, 0], found[:, 1, 1]
    torch.testing.assert_close(wide * high, torch.full((500,), 0.25))
    assert (wide / high + 1e-5 >= 3 / 4).all()
    assert (wide / high <= 4 / 3 + 1e-5).all()
    assert (found[:, 0, 2].abs() + wide <= 1 + 1e-5).all()
    assert (found[:, 1, 2].abs() + high <= 1 + 1e-5).all()
    assert random_view(many, STILL, 7, g(), (0.25, 0.25)).shape == (500, 1, 7, 7)


def test_blur_acts_with_its_chance():
    given = stack(60, 1, 12, 12)
    found = random_view(given, only(blur=0.5, sigma=(1.0, 1.0)), 12, g())
    changed = sum(not torch.allclose(a, b, atol=1e-4) for a, b in zip(found, given, strict=True))
    assert 18 < changed < 42


def test_only_valid_slices_change_their_order():
    given = torch.arange(10.0).view(2, 5, 1, 1)
    valid = torch.arange(5) < torch.tensor([[5], [3]])
    found = reverse_some(given, valid, 1.0, g())
    assert found.flatten(1).tolist() == [[4, 3, 2, 1, 0], [7, 6, 5, 8, 9]]
    assert torch.equal(reverse_some(given, valid, 0.0, g()), given)


def test_nothing_gives_nothing():
    assert random_view(torch.zeros(0, 1, 4, 4), STILL, 6, g()).shape == (0, 1, 6, 6)
