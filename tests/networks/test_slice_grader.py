"""A grader with the encoder that joint 2D-3D pre-trains, and what it takes from a file."""

import pytest
import torch
from safetensors.torch import save_file

from medssl.errors import DataError
from medssl.networks.build import build_encoder
from medssl.networks.grader import build_grader
from medssl.networks.grader_settings import GraderSettings
from medssl.networks.resnet50 import ResNet50
from medssl.networks.settings import NetworkSettings
from medssl.networks.slice_settings import SliceEncoderSettings

CONV = SliceEncoderSettings(name="conv", width=4, levels=2)


def settings(**more) -> GraderSettings:
    return GraderSettings(name="slices", slice_encoder=CONV, dropout=0.0, **more)


def test_it_grades_crops_by_the_mean_of_the_coarsest_map():
    network = build_grader(settings(), 2, 5, seed=0).eval()
    image = torch.randn(3, 2, 24, 24, generator=torch.Generator().manual_seed(0))
    assert network(image).shape == (3, 5)
    maps = network.maps(image)
    assert maps.shape == (6, 8, 6, 6)
    torch.testing.assert_close(network.features(image)[0, 8:], maps[1].mean((1, 2)))
    assert settings().smallest_side == 4
    assert GraderSettings(name="slices").smallest_side == 32


def test_a_pre_trained_joint_encoder_fills_it(tmp_path):
    """The transformer and the projection of the file have no place here."""
    joint = NetworkSettings(
        name="slice_unet",
        slice_encoder=CONV,
        slice_transformer={"width": 8, "layers": 1, "heads": 2, "points": 2, "hidden": 8},
    )
    encoder = build_encoder(joint, 1, seed=4)
    save_file(encoder.state_dict(), tmp_path / "weights.safetensors")
    network = build_grader(settings(weights=str(tmp_path / "weights.safetensors")), 2, 5, seed=0)
    assert network.report.share == 1
    assert not network.report.missing
    assert any("transformer" in name for name in network.report.unexpected)
    for name, value in encoder.slices.state_dict().items():
        assert torch.equal(network.encoder.slices.state_dict()[name], value)


def test_another_encoder_is_refused(tmp_path):
    other = build_grader(
        GraderSettings(name="slices", slice_encoder=CONV.model_copy(update={"width": 6})), 1, 5, 0
    )
    save_file(other.encoder.state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(DataError, match="at least 100% are wanted"):
        build_grader(settings(weights=str(tmp_path / "weights.safetensors")), 2, 5, seed=0)


def test_colour_weights_of_resnet50_have_their_planes_summed(tmp_path):
    torch.manual_seed(0)
    colour = ResNet50(3, torch.nn.BatchNorm2d).state_dict()
    save_file({**colour, "fc.weight": torch.zeros(3, 2048)}, tmp_path / "colour.safetensors")
    chosen = GraderSettings(name="slices", weights=str(tmp_path / "colour.safetensors"))
    network = build_grader(chosen, 1, 5, seed=0)
    assert network.report.share == 1
    stem = network.encoder.slices.backbone.conv1.weight
    torch.testing.assert_close(stem, colour["conv1.weight"].sum(1, keepdim=True))
