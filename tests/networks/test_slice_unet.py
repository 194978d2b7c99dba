"""The U-Net of slices: any grid, no change at first by FiLM, what it takes from pre-training."""

import pytest
import torch

from medssl.errors import DataError
from medssl.networks.build import build_encoder, build_network
from medssl.networks.mixed_encoder import slices_of, volumes_of
from medssl.networks.settings import NetworkSettings
from medssl.networks.transfer import PretrainedEncoder, transfer

SMALL = {
    "name": "slice_unet",
    "slice_encoder": {"name": "conv", "width": 4, "levels": 2},
    "slice_transformer": {"width": 8, "layers": 1, "heads": 2, "points": 2, "hidden": 8},
    "decoder_width": 4,
    "dropout": 0.0,
}


def settings(**changes) -> NetworkSettings:
    return NetworkSettings(**{**SMALL, **changes})


def image(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def awake(network: torch.nn.Module) -> torch.nn.Module:
    """As if FiLM had learned."""
    torch.nn.init.normal_(network.film.weight, generator=torch.Generator().manual_seed(0))
    return network


@pytest.mark.parametrize("changes", [{}, {"film": False}, {"neighbours": 1}, {"norm": "group"}])
@pytest.mark.parametrize("shape", [(8, 8, 8), (7, 10, 3), (5, 6, 1)])
def test_any_grid_gives_logits_of_its_shape(changes, shape):
    network = build_network(settings(**changes), 2, 3, seed=0).eval()
    logits = network(image(2, 2, *shape))
    assert logits.shape == (2, 3, *shape)
    assert logits.isfinite().all()
    assert settings(**changes).side_multiple == 1


def test_slices_lie_along_the_last_axis_with_x_as_columns():
    volume = image(2, 3, 4, 5, 6)
    slices = slices_of(volume)
    assert slices.shape == (12, 3, 5, 4)
    assert torch.equal(slices[6 + 2, 1], volume[1, 1, :, :, 2].T)
    assert torch.equal(volumes_of(slices, 2), volume)


def test_neighbours_come_as_further_channels_and_repeat_at_the_ends():
    volume = image(1, 2, 4, 5, 3)
    slices = slices_of(volume, 1).view(3, 3, 2, 5, 4)
    plain = slices_of(volume)
    for place, around in enumerate([(0, 0, 1), (0, 1, 2), (1, 2, 2)]):
        for side, other in enumerate(around):
            assert torch.equal(slices[place, side], plain[other])


def test_at_first_the_transformer_changes_nothing():
    plain = build_network(settings(film=False), 1, 3, seed=0).eval()
    network = build_network(settings(), 1, 3, seed=1).eval()
    assert not network.load_state_dict(plain.state_dict(), strict=False).unexpected_keys
    given = image(1, 1, 8, 8, 6)
    assert torch.equal(network(given), plain(given))
    assert not torch.allclose(awake(network)(given), plain(given))


def test_a_slice_knows_of_others_through_film_alone():
    given = image(1, 1, 8, 8, 6)
    changed = given.clone()
    changed[..., 5] += 3
    plain = build_network(settings(film=False), 1, 3, seed=0).eval()
    network = awake(build_network(settings(), 1, 3, seed=0).eval())
    assert torch.equal(plain(given)[..., 3], plain(changed)[..., 3])
    assert not torch.equal(network(given)[..., 3], network(changed)[..., 3])


def test_the_spacing_of_slices_reaches_their_places():
    given = image(1, 1, 8, 8, 6)
    one, other = (
        awake(build_network(settings(slice_spacing=mm), 1, 3, seed=0).eval()) for mm in (1.0, 4.0)
    )
    assert not torch.allclose(one(given), other(given))


@pytest.mark.parametrize(
    ("changes", "channels"), [({}, 1), ({"film": False}, 1), ({}, 3), ({"neighbours": 1}, 2)]
)
def test_a_pre_trained_encoder_fits_with_more_channels_neighbours_or_without_film(
    changes, channels
):
    encoder = build_encoder(settings(), 1, seed=5)
    given = PretrainedEncoder(encoder.state_dict())
    network = build_network(settings(**changes), channels, 2, seed=0, encoder=given)
    for name, value in network.encoder.named_parameters():
        taken = encoder.get_parameter(name)
        if name == encoder.stem:
            taken = taken.expand_as(value) / value.shape[1]
        torch.testing.assert_close(value, taken)


def test_an_image_of_equal_channels_looks_as_one_of_them_did():
    encoder = build_encoder(settings(), 1, seed=5).eval()
    wider = build_encoder(settings(), 3, seed=0).eval()
    report = transfer(wider, PretrainedEncoder(encoder.state_dict()))
    assert report.share == 1
    given = image(1, 1, 8, 8, 2)
    for one, other in zip(encoder(given), wider(given.repeat(1, 3, 1, 1, 1)), strict=True):
        torch.testing.assert_close(one, other)


def test_another_encoder_is_refused():
    other = build_encoder(settings(slice_encoder={"name": "conv", "width": 6, "levels": 2}), 1, 0)
    with pytest.raises(DataError, match="at least 100%"):
        build_network(settings(), 1, 2, 0, PretrainedEncoder(other.state_dict()))


def test_levels_hold_all_that_has_weights_once():
    encoder = build_encoder(settings(), 1, seed=0)
    found = [id(p) for layers in encoder.layers() for layer in layers for p in layer.parameters()]
    assert sorted(found) == sorted(id(p) for p in encoder.parameters())
    assert len(encoder.layers()) == 2


def test_the_encoder_of_volumes_gives_the_maps_of_slices():
    encoder = build_encoder(settings(), 1, seed=0).eval()
    features = encoder(image(2, 1, 8, 12, 5))
    assert [tuple(part.shape) for part in features] == [(2, 4, 4, 6, 5), (2, 8, 2, 3, 5)]
    assert encoder.widths == (4, 8)
    assert encoder.strides == (2, 4)


def test_the_encoder_of_other_settings_is_another():
    assert settings().encoder() == settings(film=False, neighbours=2, decoder_width=9).encoder()
    assert settings().encoder() != NetworkSettings(name="slice_unet").encoder()
