"""Encoders in networks of MONAI keep the promises of every encoder (`medssl.networks.encoder`)."""

import pytest
import torch

from medssl.errors import UsageError
from medssl.networks.build import build_encoder, build_network
from medssl.networks.monai_settings import MonaiSettings
from medssl.networks.transfer import PretrainedEncoder

SIDE = 32
THREE = {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2]}
SWIN = {"feature_size": 12, "depths": [1] * 4, "num_heads": [1] * 4, "window_size": 4}
SETTINGS = {
    "SegResNet": MonaiSettings(
        name="monai:SegResNet", init_filters=8, blocks_down=[1, 1, 1], blocks_up=[1, 1]
    ),
    "DynUNet": MonaiSettings(name="monai:DynUNet", filters=[4, 8, 12], **THREE),
    "SwinUNETR": MonaiSettings(name="monai:SwinUNETR", **SWIN),
    "SwinUNETR, version 2": MonaiSettings(name="monai:SwinUNETR", use_v2=True, **SWIN),
}

every_encoder = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())


def noise(channels: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, channels, SIDE, SIDE, SIDE, generator=generator)


@every_encoder
def test_features_have_the_promised_widths_and_strides(settings: MonaiSettings) -> None:
    encoder = build_encoder(settings, 2, seed=0).eval()
    assert settings.cell == encoder.embed_stride
    cells = SIDE // encoder.embed_stride
    assert encoder.embed(noise(2)).shape == (1, encoder.embed_width, *[cells] * 3)
    assert [tuple(one.shape) for one in encoder(noise(2))] == [
        (1, width, *[SIDE // stride] * 3)
        for width, stride in zip(encoder.widths, encoder.strides, strict=True)
    ]


@every_encoder
def test_the_embedding_mixes_no_two_cells(settings: MonaiSettings) -> None:
    encoder = build_encoder(settings, 1, seed=0)
    side, changed = encoder.embed_stride, noise()
    changed[..., 4 : 4 + side, 8 : 8 + side, 12 : 12 + side] += 1
    differs = (encoder.embed(noise()) != encoder.embed(changed)).any(1)
    assert differs.nonzero().tolist() == [[0, 4 // side, 8 // side, 12 // side]]


@every_encoder
def test_every_weight_is_of_one_level(settings: MonaiSettings) -> None:
    encoder = build_encoder(settings, 1, seed=0)
    layers = encoder.layers()
    assert len(layers) == len(encoder.widths)
    found = [id(parameter) for layer in layers for parameter in layer.parameters()]
    assert sorted(found) == sorted(id(parameter) for parameter in encoder.parameters())
    stem = encoder.get_parameter(encoder.stem)
    assert any(stem is parameter for parameter in layers[0].parameters())
    assert stem.shape[1] == 1


@every_encoder
def test_a_level_depends_on_no_deeper_one(settings: MonaiSettings) -> None:
    encoder = build_encoder(settings, 1, seed=0).eval()
    with torch.no_grad():
        before = encoder(noise())
        for parameter in encoder.layers()[-1].parameters():
            parameter.add_(torch.randn_like(parameter))
        *same, last = (
            torch.equal(one, other) for one, other in zip(before, encoder(noise()), strict=True)
        )
    assert all(same)
    assert not last


def test_features_are_those_that_the_network_decodes() -> None:
    swin = build_network(SETTINGS["SwinUNETR, version 2"], 1, 2, seed=0).eval()
    unet = build_network(SETTINGS["SegResNet"], 1, 2, seed=0).eval()
    with torch.no_grad():
        for network, expected in (
            (swin, swin.network.swinViT(noise(), True)),
            (unet, unet.network.encode(noise())[1]),
        ):
            for one, other in zip(network.encoder(noise()), expected, strict=True):
                assert torch.equal(one, other)


@every_encoder
def test_a_network_starts_from_given_weights_also_on_more_channels(
    settings: MonaiSettings,
) -> None:
    given = build_encoder(settings, 1, seed=5).state_dict()
    network = build_network(settings, 2, 3, 0, PretrainedEncoder(given))
    own = network.encoder.state_dict()
    assert all(torch.equal(own[key], given[key]) for key in own if key != network.encoder.stem)
    first = network.encoder.stem
    assert torch.equal(own[first], given[first].repeat_interleave(2, dim=1) / 2)
    assert not any(key.startswith("encoder.") for key in network.state_dict())


def test_a_frozen_encoder_does_not_learn() -> None:
    settings = SETTINGS["DynUNet"].model_copy(update={"frozen": True})
    network = build_network(settings, 1, 2, 0)
    assert not any(one.requires_grad for one in network.encoder.parameters())
    assert any(one.requires_grad for one in network.parameters())


def test_strides_that_differ_between_axes_are_refused() -> None:
    flat = {**THREE, "strides": [1, [2, 2, 1], 2], "upsample_kernel_size": [[2, 2, 1], 2]}
    with pytest.raises(UsageError, match="its strides differ from axis to axis"):
        build_encoder(MonaiSettings(name="monai:DynUNet", filters=[4, 8, 12], **flat), 1, 0)


def test_defaults_that_are_given_make_no_other_encoder() -> None:
    plain, given = (
        MonaiSettings(name="monai:SegResNet", **keys) for keys in ({}, {"init_filters": 8})
    )
    assert plain.encoder() == given.encoder()
    assert MonaiSettings(name="monai:SegResNet", init_filters=16).encoder() != plain.encoder()
    assert MonaiSettings(name="monai:VNet").encoder() is None
