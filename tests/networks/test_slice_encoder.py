"""The network of slices: sizes as released, torchvision's names, vectors of all levels."""

import pytest
import torch
from pydantic import ValidationError

from medssl.networks.norm import group_norm
from medssl.networks.resnet50 import ResNet50
from medssl.networks.slice_encoder import SliceEncoder
from medssl.networks.slice_settings import SliceEncoderSettings


def build(**settings) -> SliceEncoder:
    torch.manual_seed(0)
    return SliceEncoder(SliceEncoderSettings(**settings)).eval()


@pytest.fixture(scope="module")
def resnet() -> SliceEncoder:
    return build()


def image(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_resnet50_has_the_published_parameters_and_torchvisions_names(resnet):
    """25.557 M less the classifier's 2.049 M, less two of the stem's three planes."""
    backbone = resnet.backbone
    count = sum(p.numel() for p in backbone.parameters())
    assert count == 25_557_032 - 2_049_000 - 2 * 64 * 49
    names = backbone.state_dict()
    assert "layer1.0.downsample.1.running_mean" in names
    assert "layer4.2.conv3.weight" in names
    assert "layer3.0.downsample.0.weight" in names


def test_the_maps_have_the_announced_sizes(resnet):
    maps = resnet.maps(image(1, 1, 65, 96))
    expected = [
        (1, width, -(-65 // stride), -(-96 // stride))
        for width, stride in zip(resnet.widths, resnet.strides, strict=True)
    ]
    assert [tuple(found.shape) for found in maps] == expected
    assert resnet.widths == (64, 256, 512, 1024, 2048)


@pytest.mark.parametrize(("pooled", "width"), [("all", 3840), ("released", 5888), ("last", 2048)])
def test_the_vector_has_the_published_width(pooled, width):
    """256 + 512 + 1024 + 2048, and 2048 again as released."""
    with torch.device("meta"):
        assert SliceEncoder(SliceEncoderSettings(pooled=pooled)).width == width


def test_each_level_of_the_vector_has_length_one_and_the_release_repeats_the_last():
    encoder, plain = build(name="conv", pooled="released"), build(name="conv", pooled="all")
    found = encoder(image(2, 1, 32, 32))
    assert encoder.width == 16 + 32 + 64 + 64
    parts = found.split([16, 32, 64, 64], dim=1)
    for part in parts:
        torch.testing.assert_close(part.norm(dim=1), torch.ones(2))
    assert torch.equal(parts[2], parts[3])
    assert torch.equal(plain(image(2, 1, 32, 32)), found[:, :112])


def test_the_last_level_alone_is_its_plain_mean():
    encoder = build(name="conv", pooled="last")
    found = encoder(image(2, 1, 32, 32))
    torch.testing.assert_close(found, encoder.maps(image(2, 1, 32, 32))[-1].mean((2, 3)))


def test_group_norm_needs_no_batch():
    encoder = build(name="conv", norm="group").train()
    given = image(3, 1, 16, 16)
    torch.testing.assert_close(encoder(given)[:1], encoder(given[:1]))
    batch = build(name="conv", norm="batch").train()
    assert not torch.allclose(batch(given)[:1], batch(given[:1]))


def test_the_sizes_of_conv_are_refused_elsewhere():
    with pytest.raises(ValidationError, match="width is of the encoder 'conv'"):
        SliceEncoderSettings(width=8)


def test_the_stem_reads_as_many_channels_as_asked():
    assert ResNet50(3, group_norm).conv1.weight.shape == (64, 3, 7, 7)
    encoder = SliceEncoder(SliceEncoderSettings(name="conv"), channels=4)
    assert encoder.get_parameter(encoder.stem).shape[1] == 4
