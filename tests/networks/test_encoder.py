"""What every encoder of volumes promises (`medssl.networks.encoder`)."""

import pytest
import torch

from medssl.errors import UsageError
from medssl.networks.build import build_encoder, build_network
from medssl.networks.settings import NetworkSettings
from medssl.networks.unet_settings import UNetSettings

SIDE, CUBE = 32, 16
SETTINGS = {
    "vnet": NetworkSettings(name="vnet", width=4, levels=3, norm="group", dropout=0),
    "unet3d": NetworkSettings(name="unet3d", width=4, levels=3, norm="group", dropout=0),
    "swin_fpn": NetworkSettings(
        name="swin_fpn", width=12, levels=3, depths=(2, 1), heads=(2, 4), window=4
    ),
    "conv_fpn": NetworkSettings(name="conv_fpn", width=4, levels=3),
    "plain_unet": UNetSettings(name="plain_unet", features=(4, 8, 16)),
    "residual_unet": UNetSettings(name="residual_unet", features=(4, 8, 16)),
}

every_encoder = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())


def noise(channels=1, items=1):
    return torch.randn(
        items, channels, SIDE, SIDE, SIDE, generator=torch.Generator().manual_seed(0)
    )


def masked(encoder, image):
    """Features of an image whose first cube is hidden behind a token."""
    embedded = encoder.embed(image)
    side = CUBE // encoder.embed_stride
    hidden = torch.zeros(1, 1, *embedded.shape[2:], dtype=torch.bool)
    hidden[..., :side, :side, :side] = True
    token = torch.linspace(-1, 1, encoder.embed_width).view(1, -1, 1, 1, 1)
    return encoder.stages(torch.where(hidden, token, embedded))


@every_encoder
def test_features_have_the_promised_widths_and_strides(settings):
    encoder = build_encoder(settings, 2, seed=0)
    image = noise(channels=2)
    embedded = encoder.embed(image)
    cells = SIDE // encoder.embed_stride
    assert embedded.shape == (1, encoder.embed_width, cells, cells, cells)
    shapes = [tuple(one.shape) for one in encoder(image)]
    assert shapes == [
        (1, width, *[SIDE // stride] * 3)
        for width, stride in zip(encoder.widths, encoder.strides, strict=True)
    ]
    width = encoder.widths[0]
    assert encoder.widths == tuple(width * 2**level for level in range(3))
    assert [coarse / encoder.strides[0] for coarse in encoder.strides] == [1, 2, 4]


@every_encoder
def test_voxels_inside_a_masked_cube_are_never_seen(settings):
    encoder = build_encoder(settings, 1, seed=0).eval()
    image, inside, outside = noise(), noise(), noise()
    inside[..., :CUBE, :CUBE, :CUBE] += 5
    outside[..., CUBE, CUBE, CUBE] += 5
    with torch.no_grad():
        plain, hidden, seen = (masked(encoder, one) for one in (image, inside, outside))
    assert all(torch.equal(one, other) for one, other in zip(plain, hidden, strict=True))
    assert not torch.equal(plain[-1], seen[-1])


@every_encoder
def test_the_embedding_mixes_no_two_cells(settings):
    encoder = build_encoder(settings, 1, seed=0)
    stride = encoder.embed_stride
    image, changed = noise(), noise()
    changed[..., 4 : 4 + stride, 8 : 8 + stride, 12 : 12 + stride] += 1
    with torch.no_grad():
        differs = (encoder.embed(image) != encoder.embed(changed)).any(1)
    assert differs.nonzero().tolist() == [[0, 4 // stride, 8 // stride, 12 // stride]]


@every_encoder
def test_every_weight_is_of_one_level(settings):
    encoder = build_encoder(settings, 1, seed=0)
    layers = encoder.layers()
    assert len(layers) == len(encoder.widths)
    found = [id(parameter) for layer in layers for parameter in layer.parameters()]
    assert sorted(found) == sorted(id(parameter) for parameter in encoder.parameters())
    stem = encoder.get_parameter(encoder.stem)
    assert any(stem is parameter for parameter in layers[0].parameters())
    assert stem.shape[1] == 1


@every_encoder
def test_a_level_depends_on_no_deeper_one(settings):
    """Levels are in the order in which an image passes them."""
    encoder = build_encoder(settings, 1, seed=0).eval()
    image = noise()
    with torch.no_grad():
        before = encoder(image)
        for parameter in encoder.layers()[-1].parameters():
            parameter.add_(0.5)
        after = encoder(image)
    same = [torch.equal(one, other) for one, other in zip(before, after, strict=True)]
    assert same == [True, True, False]


@every_encoder
def test_the_encoder_is_that_of_the_network_with_its_seed(settings):
    network = build_network(settings, 1, 1, seed=4)
    same, other = (build_encoder(settings, 1, seed).state_dict() for seed in (4, 5))
    own = network.encoder.state_dict()
    assert list(own) == list(same)
    assert all(torch.equal(own[name], same[name]) for name in own)
    assert any(not torch.equal(own[name], other[name]) for name in own)


@pytest.mark.parametrize("name", ["vnet", "unet3d"])
def test_pooled_features_tell_brightness_apart_with_group_norm_but_hardly_with_instance(name):
    """Shares of variance between items of what an average over space keeps."""

    def spread(norm):
        settings = SETTINGS[name].model_copy(update={"norm": norm})
        encoder = build_encoder(settings, 1, seed=0).eval()
        image = noise(items=2) * torch.tensor([1.0, 3.0]).view(2, 1, 1, 1, 1)
        with torch.no_grad():
            pooled = encoder(image)[0].mean((2, 3, 4))
        return (pooled[0] - pooled[1]).abs().max() / pooled.abs().max()

    assert spread("group") > 2 * spread("instance")


def test_a_network_without_an_encoder_of_its_own_says_so():
    with pytest.raises(UsageError, match="monai_unet has no encoder") as caught:
        build_encoder(NetworkSettings(name="monai_unet", width=2, levels=2, norm="batch"), 1, 0)
    assert "vnet" in caught.value.do
