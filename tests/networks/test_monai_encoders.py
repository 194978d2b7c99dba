"""Encoders in networks of MONAI keep the promises of every encoder (`medssl.networks.encoder`)."""

from typing import Any

import pytest
import torch

from medssl.errors import UsageError
from medssl.networks.build import build_encoder, build_network
from medssl.networks.encoder import per_axis
from medssl.networks.monai_encoder_keys import MONAI_ENCODERS
from medssl.networks.monai_settings import MonaiSettings
from medssl.networks.transfer import PretrainedEncoder, transfer

SIDE = 32
FEW = [4, 4, 4, 4, 4, 4]
THREE = {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2]}
FLAT = {
    "kernel_size": [[3, 3, 1], 3, 3],
    "strides": [1, [2, 2, 1], 2],
    "upsample_kernel_size": [[2, 2, 1], 2],
}
SWIN = {"feature_size": 12, "depths": [1] * 4, "num_heads": [1] * 4, "window_size": 4}
VIT = {"hidden_size": 12, "mlp_dim": 12, "num_heads": 2, "feature_size": 4}
MEDNEXT = {"init_filters": 4, "kernel_size": 3, "blocks_down": [1, 1], "blocks_up": [1, 1]}
GIVEN = {
    "AttentionUnet": {"channels": [4, 8, 12], "strides": [2, 2]},
    "AutoEncoder": {"channels": [4, 8, 12], "strides": [2, 2, 2]},
    "AutoEncoder, residual, by axis": {
        "channels": [4, 8, 12],
        "strides": [2, [2, 2, 1], 1],
        "num_res_units": 1,
    },
    "AutoencoderKL": {
        "channels": [4, 4],
        "num_res_blocks": [1, 1],
        "attention_levels": [False, False],
        "norm_num_groups": 2,
    },
    "BasicUNet": {"features": FEW},
    "BasicUNetPlusPlus": {"features": FEW},
    "DynUNet": {"filters": [4, 8, 12], **THREE},
    "DynUNet, residual, by axis": {"filters": [4, 8, 12], "res_block": True, **FLAT},
    "FlexibleUNet": {"backbone": "efficientnet-b0"},
    "FlexibleUNet, residual": {"backbone": "resnet10"},
    "LocalNet": {"num_channel_initial": 4, "extract_levels": [0, 1, 2]},
    "MedNeXt": MEDNEXT,
    "MedNeXt, residual": {**MEDNEXT, "use_residual_connection": True},
    "RegUNet": {"num_channel_initial": 4, "depth": 2},
    "SegResNet": {"init_filters": 8, "blocks_down": [1, 1, 1], "blocks_up": [1, 1]},
    "SegResNetDS": {"init_filters": 4, "blocks_down": [1, 1, 1]},
    "SegResNetDS2": {"init_filters": 4, "blocks_down": [1, 1, 1]},
    "SegResNetDS, by axis": {
        "init_filters": 4,
        "blocks_down": [1, 1, 1],
        "resolution": [1, 1, 3],
    },
    "SegResNetVAE": {
        "init_filters": 8,
        "blocks_down": [1, 1, 1],
        "blocks_up": [1, 1],
        "input_image_size": [SIDE] * 3,
    },
    "SwinUNETR": SWIN,
    "SwinUNETR, version 2": {**SWIN, "use_v2": True},
    "UNETR": {**VIT, "img_size": [SIDE] * 3},
    "UNet": {"channels": [4, 8, 12], "strides": [2, 2]},
    "UNet, residual, by axis": {
        "channels": [4, 8, 12],
        "strides": [2, [2, 2, 1]],
        "num_res_units": 2,
    },
    "VNet": {"dropout_prob_down": None},
    "VQVAE": {
        "channels": [4, 8],
        "num_res_channels": [4, 4],
        "num_res_layers": 1,
        "downsample_parameters": [[2, 4, 1, 1]] * 2,
        "upsample_parameters": [[2, 4, 1, 1, 0]] * 2,
        "embedding_dim": 4,
    },
}
SETTINGS = {
    case: MonaiSettings(name=f"monai:{case.partition(',')[0]}", **given)
    for case, given in GIVEN.items()
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
        (1, width, *(SIDE // step for step in per_axis(stride)))
        for width, stride in zip(encoder.widths, encoder.strides, strict=True)
    ]


@every_encoder
def test_the_embedding_mixes_no_two_cells(settings: MonaiSettings) -> None:
    encoder = build_encoder(settings, 1, seed=0)
    side, changed = encoder.embed_stride, noise()
    changed[..., :side, side : 2 * side, 16 : 16 + side] += 1
    differs = (encoder.embed(noise()) != encoder.embed(changed)).any(1)
    assert differs.nonzero().tolist() == [[0, 0, 1, 16 // side]]


@every_encoder
def test_every_weight_is_of_one_level(settings: MonaiSettings) -> None:
    encoder = build_encoder(settings, 1, seed=0)
    layers = encoder.layers()
    assert len(layers) == len(encoder.widths)
    found = [id(parameter) for layer in layers for parameter in layer.parameters()]
    assert sorted(found) == sorted(id(parameter) for parameter in encoder.parameters())
    assert encoder.stems[0] == encoder.stem
    for stem in map(encoder.get_parameter, encoder.stems):
        assert any(stem is parameter for parameter in layers[0].parameters())
        assert stem.shape[1] == 1


@every_encoder
def test_the_stems_are_all_that_depends_on_the_channels(settings: MonaiSettings) -> None:
    grey, coloured = (build_encoder(settings, channels, 0).state_dict() for channels in (1, 2))
    differing = [key for key in grey if grey[key].shape != coloured[key].shape]
    assert sorted(differing) == sorted(build_encoder(settings, 1, 0).stems)


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


NESTED = ["model.0", "model.1.submodule.0", "model.1.submodule.1.submodule"]
SKIPS = "skip_layers.next_layer"
DECODED = {
    "AttentionUnet": NESTED,
    "AutoEncoder": [f"encode.encode_{level}" for level in range(3)],
    "AutoencoderKL": ["encoder.blocks.1", "encoder.blocks.8"],
    "BasicUNet": ["conv_0", "down_1", "down_2", "down_3", "down_4"],
    "BasicUNetPlusPlus": [f"conv_{level}_0" for level in range(5)],
    "DynUNet": ["skip_layers.downsample", f"{SKIPS}.downsample", f"{SKIPS}.next_layer"],
    "LocalNet": ["encode_convs.0", "encode_convs.1", "bottom_block"],
    "MedNeXt": ["enc_stages.0", "enc_stages.1", "bottleneck"],
    "RegUNet": ["encode_convs.0", "encode_convs.1", "bottom_block"],
    "SegResNet": [f"down_layers.{level}" for level in range(3)],
    "SegResNetDS2": [f"encoder.layers.{level}.blocks" for level in range(3)],
    "SegResNetVAE": [f"down_layers.{level}" for level in range(3)],
    "SegResNetDS": [f"encoder.layers.{level}.blocks" for level in range(3)],
    "UNETR": ["vit.norm", "encoder2", "encoder3", "encoder4"],
    "UNet": NESTED,
    "VQVAE": ["encoder.blocks.1", "encoder.blocks.4"],
    "VNet": ["in_tr", *(f"down_tr{width}" for width in (32, 64, 128, 256))],
}
"""The modules inside MONAI's networks whose answers the decoder reads, in the order of forward."""


def seen_by(settings: MonaiSettings, network: Any) -> list[torch.Tensor]:
    """What leaves the encoder inside the forward of MONAI's own network, level by level."""
    if settings.name == "monai:SwinUNETR":
        with torch.no_grad():
            return list(network.swinViT(noise(), network.normalize))
    if settings.name == "monai:FlexibleUNet":
        with torch.no_grad():
            return list(network.encoder(noise()))
    found: list[torch.Tensor] = []
    named = dict(network.named_modules(remove_duplicate=False))
    for name in DECODED[settings.name.removeprefix("monai:")]:
        named[name].register_forward_hook(lambda _, __, answer: found.append(answer.clone()))
    with torch.no_grad():
        network(noise())
    if settings.name == "monai:UNETR":
        last, *finer = found  # the transformer is done before its maps are made finer
        found = [*finer, network.proj_feat(last)]
    return found


@every_encoder
def test_features_are_those_inside_the_forward_of_monai(settings: MonaiSettings) -> None:
    network = build_network(settings, 1, 2, seed=0).eval()
    with torch.no_grad():
        own = network.encoder(noise())
    for one, other in zip(own, seen_by(settings, network.network), strict=True):
        assert torch.equal(one, other)


@every_encoder
def test_a_network_starts_from_given_weights_also_on_more_channels(
    settings: MonaiSettings,
) -> None:
    given = build_encoder(settings, 1, seed=5).state_dict()
    network = build_network(settings, 2, 3, 0, PretrainedEncoder(given))
    own, stems = network.encoder.state_dict(), network.encoder.stems
    assert all(torch.equal(own[key], given[key]) for key in own if key not in stems)
    for key in stems:
        assert torch.equal(own[key], given[key].repeat_interleave(2, dim=1) / 2)
    assert not any(key.startswith("encoder.") for key in network.state_dict())


@every_encoder
def test_all_of_the_encoder_is_loaded_and_reported(settings: MonaiSettings) -> None:
    encoder = build_encoder(settings, 1, seed=0)
    report = transfer(encoder, PretrainedEncoder(build_encoder(settings, 1, seed=5).state_dict()))
    assert report.share == 1
    assert sorted(report.matched) == sorted(encoder.state_dict())
    assert str(report).startswith("100.0% of the parameters matched")


def test_a_frozen_encoder_does_not_learn() -> None:
    settings = SETTINGS["DynUNet"].model_copy(update={"frozen": True})
    network = build_network(settings, 1, 2, 0)
    assert not any(one.requires_grad for one in network.encoder.parameters())
    assert any(one.requires_grad for one in network.parameters())


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"name": "monai:UNETR", "proj_type": "perceptron", "img_size": [32] * 3, **VIT},
            "set network.proj_type=conv",
        ),
        (
            {"name": "monai:UNet", "channels": [4, 8], "strides": [[2, 2, 1]]},
            "its first level has another stride along each axis",
        ),
        ({"name": "monai:HighResNet"}, "choose one of: .*, monai:VNet"),
    ],
)
def test_what_has_no_usual_encoder_is_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        build_encoder(MonaiSettings(**given), 1, 0)


def test_what_shapes_an_encoder_are_arguments_of_its_class() -> None:
    for name, keys in MONAI_ENCODERS.items():
        described = MonaiSettings.model_construct(name=name).monai
        assert set(keys) <= {*described.arguments, described.sides}, name
    assert {one.name for one in SETTINGS.values()} == MONAI_ENCODERS.keys()


@pytest.mark.parametrize("case", [case for case in SETTINGS if "by axis" not in case])
def test_two_dimensional_networks_are_built_too(case: str) -> None:
    settings = SETTINGS[case].unsized().sized((64, 64, 1))
    network = build_network(settings, 1, 2, seed=0).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 1, 64, 64, 1)).shape == (1, 2, 64, 64, 1)
    encoder = build_encoder(settings, 1, 0).eval()
    with torch.no_grad():
        features = encoder(torch.zeros(1, 1, 64, 64, 1))
    sides = [(64 // x, 64 // y, z) for x, y, z in encoder.strides]
    assert [tuple(one.shape[2:]) for one in features] == sides


def test_defaults_that_are_given_make_no_other_encoder() -> None:
    plain, given = (
        MonaiSettings(name="monai:SegResNet", **keys) for keys in ({}, {"init_filters": 8})
    )
    assert plain.encoder() == given.encoder()
    assert MonaiSettings(name="monai:SegResNet", init_filters=16).encoder() != plain.encoder()
    assert MonaiSettings(name="monai:HighResNet").encoder() is None
