"""Random intensities: their laws, exact numbers, and MONAI's counterparts where the law is one."""

import numpy as np
import pytest
import torch
from monai import transforms as monai
from monai.data import MetaTensor
from scipy import ndimage

import medssl.transforms as ours
from medssl.transforms.random_intensity import ordered

KEY = "image"
MANY = 3000


def changed(transform, image, seed=0):
    transform.set_random_state(seed)
    return transform({KEY: image})[KEY]


def drawn(transform, channels=1) -> np.ndarray:
    """Amounts of many images, [images, channels]; nan where a channel stays."""
    transform.set_random_state(1)
    found = []
    for _ in range(MANY):
        transform.randomize(torch.zeros(channels, 2, 2, 2))
        amounts = transform._amounts or [None] * channels
        found.append([np.nan if one is None else np.mean(one) for one in amounts])
    return np.array(found, float)


@pytest.fixture
def image() -> torch.Tensor:
    """[2, 7, 6, 5], channels of different ranges."""
    g = torch.Generator().manual_seed(0)
    return torch.rand(2, 7, 6, 5, generator=g) * torch.tensor([1.0, 9]).reshape(2, 1, 1, 1) - 0.4


LAWS = {
    "RandBrightnessd": (0.15, 0.75, 1.25),
    "RandContrastd": (0.15, 0.75, 1.25),
    "RandGammaRangePreservingd": (0.3, 0.7, 1.5),
}


@pytest.mark.parametrize("name", LAWS)
def test_half_of_the_amounts_are_below_1_and_each_half_is_uniform(name) -> None:
    chance, low, high = LAWS[name]
    amounts = drawn(getattr(ours, name)(KEY))[:, 0]
    amounts = amounts[~np.isnan(amounts)]
    assert len(amounts) / MANY == pytest.approx(chance, abs=0.04)
    below, above = amounts[amounts < 1], amounts[amounts >= 1]
    assert len(below) / len(amounts) == pytest.approx(0.5, abs=0.08)
    for half, start, stop in ((below, low, 1), (above, 1, high)):
        assert start <= half.min() < half.max() <= stop
        assert half.mean() == pytest.approx((start + stop) / 2, abs=0.03)


def test_each_channel_has_an_amount_of_its_own_unless_all_share_one() -> None:
    assert (np.ptp(drawn(ours.RandBrightnessd(KEY, prob=1), 2), axis=1) > 0).all()
    gamma = ours.RandGammaRangePreservingd(KEY, prob=1)
    gamma.randomize(torch.zeros(3, 2, 2, 2))
    assert len(gamma._amounts) == 1


@pytest.mark.parametrize(
    ("name", "low", "high"), [("RandBlurd", 0.5, 1.0), ("RandLowResolutiond", 0.5, 1.0)]
)
def test_channels_have_a_chance_within_the_images(name, low, high) -> None:
    transform = getattr(ours, name)(KEY)
    amounts = drawn(transform, 2)
    changed_at_all = ~np.isnan(amounts)
    assert changed_at_all.mean() == pytest.approx(transform.prob / 2, abs=0.02)
    both = changed_at_all.all(1).mean()
    assert both == pytest.approx(transform.prob / 4, abs=0.02)  # one draw for both, then each
    assert low <= np.nanmin(amounts) < np.nanmax(amounts) <= high


def test_brightness_is_a_factor_for_each_channel(image) -> None:
    transform = ours.RandBrightnessd(KEY, 1)
    factors = changed(transform, image) / image
    wanted = torch.tensor(transform._amounts, dtype=torch.float32).reshape(2, 1, 1, 1)
    torch.testing.assert_close(factors, wanted.expand_as(factors))


def test_contrast_by_hand() -> None:
    """0 2 4 about its mean 2, with the factor 1.25 clipped to its range; with 0.75 not."""
    line = torch.tensor([0.0, 2, 4]).reshape(1, 3, 1, 1)
    transform = ours.RandContrastd(KEY, 1)
    for amount, wanted in ((1.25, [0, 2, 4]), (0.75, [0.5, 2, 3.5])):
        assert transform._change(line, amount).flatten().tolist() == wanted
    line = torch.tensor([0.0, 1, 1, 2]).reshape(1, 4, 1, 1)
    assert transform._change(line, 1.25).flatten().tolist() == [0, 1, 1, 2]


def test_gamma_by_hand() -> None:
    """Of -1 0 3, seen as 0 0.25 1: squared 0 0.0625 1; of the negative 1 - 0.75 ** 2."""
    line = torch.tensor([-1.0, 0, 3]).reshape(1, 3)
    plain = ours.RandGammaRangePreservingd(KEY, 1)
    torch.testing.assert_close(plain._change(line, 2)[0], torch.tensor([-1, -0.75, 3]))
    inverted = ours.RandGammaRangePreservingd(KEY, 1, invert=True)
    torch.testing.assert_close(inverted._change(line, 2)[0], torch.tensor([-1, 0.75, 3]))


@pytest.mark.parametrize("invert", [False, True])
def test_gamma_keeps_range_and_order_or_else_mean_and_deviation(image, invert) -> None:
    after = changed(ours.RandGammaRangePreservingd(KEY, 1, invert=invert, channel_wise=True), image)
    for mine, before in zip(after, image, strict=True):
        torch.testing.assert_close(torch.stack(mine.aminmax()), torch.stack(before.aminmax()))
        assert torch.equal(mine.flatten().argsort(), before.flatten().argsort())
        assert not torch.allclose(mine, before, atol=1e-3)
    restored = ours.RandGammaRangePreservingd(
        KEY, 1, invert=invert, retain_stats=True, channel_wise=True
    )
    for mine, before in zip(changed(restored, image), image, strict=True):
        torch.testing.assert_close(
            torch.stack(torch.std_mean(mine)), torch.stack(torch.std_mean(before))
        )
        assert not torch.allclose(mine, before, atol=1e-3)


def test_channels_that_share_a_gamma_share_their_range(image) -> None:
    after = changed(ours.RandGammaRangePreservingd(KEY, 1), image)
    torch.testing.assert_close(torch.stack(after.aminmax()), torch.stack(image.aminmax()))
    assert not torch.allclose(after[0].max(), image[0].max(), atol=1e-3)


def test_the_logarithm_of_a_gamma_is_uniform_where_that_is_asked_for() -> None:
    logs = np.log(drawn(ours.RandGammaRangePreservingd(KEY, 1, log_gamma=0.3)))
    assert (logs >= -0.3).all()
    assert (logs <= 0.3).all()
    assert np.histogram(logs, 4, (-0.3, 0.3))[0] == pytest.approx([MANY / 4] * 4, rel=0.15)


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("retain", [False, True])
def test_gamma_is_monais_of_the_same_exponent(image, invert, retain) -> None:
    mine = ours.RandGammaRangePreservingd(KEY, 1, invert=invert, retain_stats=retain)
    theirs = monai.AdjustContrast(1.3, invert, retain)(image)
    torch.testing.assert_close(mine._change(image, 1.3), theirs.as_tensor(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["RandGammaRangePreservingd", "RandContrastd"])
def test_an_image_of_one_value_stays(name) -> None:
    flat = torch.full((1, 4, 4, 4), 3.0)
    torch.testing.assert_close(changed(getattr(ours, name)(KEY, 1), flat), flat)


def test_a_blur_is_the_gaussian_of_scipy_to_its_third_deviation(image) -> None:
    transform = ours.RandBlurd(KEY, 1, 1, sigma=(0.8, 0.8))
    for mine, before in zip(changed(transform, image), image, strict=True):
        wanted = ndimage.gaussian_filter(before.numpy(), 0.8, mode="mirror", truncate=3)
        np.testing.assert_allclose(mine, wanted, atol=1e-5)


def test_a_blur_of_one_voxel_by_hand() -> None:
    line = torch.zeros(1, 9, 1)
    line[0, 4] = 1
    blurred = changed(ours.RandBlurd(KEY, 1, 1, sigma=(0.5, 0.5)), line)[0, :, 0]
    weights = np.exp(-2.0 * np.arange(-2, 3) ** 2)
    np.testing.assert_allclose(blurred[2:7], weights / weights.sum(), atol=1e-6)
    assert float(blurred.sum()) == pytest.approx(1)


def test_low_resolution_by_hand() -> None:
    """Of 0..3 the voxels 1 and 3 are the nearest to the two of half the resolution."""
    line = torch.arange(4.0).reshape(1, 4, 1).expand(1, 4, 2).contiguous()
    after = changed(ours.RandLowResolutiond(KEY, 1, 1, zoom=(0.5, 0.5)), line)
    assert after[0, :, 0].tolist() == [1, 1.5, 2.5, 3]
    assert after.shape == line.shape


def test_low_resolution_is_monais_of_the_same_zoom(image) -> None:
    theirs = monai.RandSimulateLowResolution(
        1, downsample_mode="nearest-exact", zoom_range=(0.6, 0.6)
    )
    torch.testing.assert_close(
        changed(ours.RandLowResolutiond(KEY, 1, 1, zoom=(0.6, 0.6)), image),
        theirs(image).as_tensor(),
    )


def test_thick_slices_keep_their_resolution() -> None:
    thick = torch.rand(1, 16, 16, 5) * torch.ones(1, 16, 16, 1)
    flat = thick.mean((1, 2), keepdim=True).expand_as(thick).contiguous()
    transform = ours.RandLowResolutiond(KEY, 1, 1, zoom=(0.5, 0.5))
    torch.testing.assert_close(changed(transform, flat), flat)
    assert not torch.equal(changed(transform, thick), thick)
    square = flat[:, :12, :12]  # no longer more than 3 times as wide
    assert not torch.allclose(changed(transform, square), square)


SURE = {
    "RandBrightnessd": {},
    "RandContrastd": {},
    "RandGammaRangePreservingd": {"retain_stats": True},
    "RandBlurd": {"channel_prob": 1},
    "RandLowResolutiond": {"channel_prob": 1},
}


@pytest.mark.parametrize("name", SURE)
@pytest.mark.parametrize("shape", [(2, 7, 6, 5), (2, 7, 6)], ids=["3-D", "2-D"])
def test_they_fit_into_anyones_chain(name, shape) -> None:
    """MetaTensors keep their grid, several images share draws, what is given is not written to."""
    transform = getattr(ours, name)(
        [KEY, "other", "lacking"], prob=1, allow_missing_keys=True, **SURE[name]
    )
    affine = torch.diag(torch.tensor([2.0, 2, 2, 1], dtype=torch.float64))
    image = MetaTensor(torch.rand(shape), affine=affine)
    before = image.clone()
    chain = monai.Compose([transform]).set_random_state(3)
    after = chain({KEY: image, "other": image.as_tensor(), "more": 1})
    assert torch.equal(after[KEY].affine, affine)
    torch.testing.assert_close(after[KEY].as_tensor(), after["other"])
    assert torch.equal(image, before)
    assert not torch.equal(after[KEY], before)
    again = chain.set_random_state(3)({KEY: image, "other": image.as_tensor()})
    assert torch.equal(again[KEY], after[KEY])
    assert not torch.equal(chain.set_random_state(4)({KEY: image, "other": image})[KEY], after[KEY])


@pytest.mark.parametrize("name", SURE)
def test_nothing_is_made_on_a_wrong_device(name) -> None:
    """A tensor of the CPU does not mix with one without memory."""
    transform = getattr(ours, name)(KEY, prob=1, **SURE[name])
    after = transform({KEY: torch.empty(2, 7, 6, 5, device="meta")})[KEY]
    assert (after.device.type, after.shape) == ("meta", (2, 7, 6, 5))


@pytest.mark.parametrize(
    ("name", "argument"),
    [("RandBlurd", "sigma"), ("RandLowResolutiond", "zoom"), ("RandContrastd", "factor")],
)
@pytest.mark.parametrize("limits", [(2, 1), (-1, 1), (0, 0), (1, 2, 3)])
def test_limits_go_from_above_0_upwards(name, argument, limits) -> None:
    with pytest.raises(ValueError, match=f"{argument}=.* is not two numbers"):
        getattr(ours, name)(KEY, **{argument: limits})


@pytest.mark.parametrize("limits", [(2, 1), (-1, 1), (0, 0), (float("nan"), 1), (1, 2, 3)])
def test_limits_of_what_is_drawn_rise_from_0(limits: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="is not two numbers above 0, the larger one last"):
        ordered("factor", limits)
