import math

import pytest
import torch
from torch import nn

from medssl.networks.build import build_network
from medssl.networks.settings import NetworkSettings
from medssl.networks.unet3d import UNet3d


@pytest.fixture(scope="module")
def published() -> UNet3d:
    torch.manual_seed(0)
    return UNet3d(channels=1, classes=2)


def test_the_published_network_has_5884050_parameters(published):
    assert sum(parameter.numel() for parameter in published.parameters()) == 5_884_050


def test_levels_have_two_convolutions_and_the_published_channels(published):
    blocks = [*published.encoder.blocks, *published.blocks]
    layers = [[layer for layer in block if isinstance(layer, nn.Conv3d)] for block in blocks]
    assert [block[1].out_channels for block in layers] == [16, 32, 64, 128, 256, 16, 32, 64, 128]
    assert {len(block) for block in layers} == {2}
    assert {layer.kernel_size for block in layers for layer in block} == {(3, 3, 3)}


def test_skips_are_concatenated(published):
    inputs = [block[0].in_channels for block in published.blocks]
    assert inputs == [16 + 32, 32 + 64, 64 + 128, 128 + 256]


def test_normalisation_is_instance_wise_and_learns_nothing(published):
    norms = [m for m in published.modules() if isinstance(m, nn.InstanceNorm3d)]
    assert len(norms) == 18
    assert not any(m.affine or m.track_running_stats for m in norms)
    assert not any(isinstance(m, nn.BatchNorm3d) for m in published.modules())


def test_convolution_weights_are_kaiming_normal(published):
    """Standard deviation sqrt(2 / (inputs x kernel voxels)); 2 % leaves room for chance."""
    layer = published.encoder.blocks[3][3]
    expected = math.sqrt(2 / (layer.in_channels * 27))
    assert float(layer.weight.detach().std()) == pytest.approx(expected, rel=0.02)
    assert float(layer.weight.detach().abs().max()) > 3.5 * expected  # no uniform draw reaches that


def test_dropout_is_element_wise_after_the_bottleneck_and_the_last_decoder_level(published):
    places = {name: m for name, m in published.named_modules() if isinstance(m, nn.Dropout)}
    assert set(places) == {"encoder.dropout", "dropout"}
    assert {m.p for m in places.values()} == {0.3}


def test_features_halve_by_maximum():
    """Blocks that change nothing: the second level is the 2x2x2 maximum of the image."""
    network = UNet3d(1, 2, width=1, levels=2, dropout=0)
    network.encoder.blocks = nn.ModuleList([nn.Identity(), nn.Identity()])
    image = torch.randn(1, 1, 4, 4, 4)
    fine, coarse = network.encoder(image)
    assert torch.equal(fine, image)
    cells = image.reshape(2, 2, 2, 2, 2, 2).permute(0, 2, 4, 1, 3, 5).flatten(3)
    assert torch.equal(coarse[0, 0], cells.amax(3))


def test_way_up_is_trilinear_without_aligned_corners():
    """A ramp 0, 1 becomes 0, 1/4, 3/4, 1, behind the skip."""
    network = UNet3d(1, 2, width=1, levels=2, dropout=0).eval()
    ramp = torch.tensor([0.0, 1.0]).reshape(1, 1, 2, 1, 1).expand(1, 2, 2, 2, 2)
    network.encoder = nn.Module()
    network.encoder.forward = lambda image: [image, ramp]
    network.blocks = nn.ModuleList([nn.Identity()])
    network.head = nn.Identity()
    image = torch.full((1, 1, 4, 4, 4), 7.0)
    joined = network(image)
    assert joined.shape == (1, 3, 4, 4, 4)
    assert torch.equal(joined[:, :1], image)
    assert joined[0, 1, :, 0, 0].tolist() == [0, 0.25, 0.75, 1]


def test_logits_lie_on_the_grid_of_the_image():
    settings = NetworkSettings(name="unet3d", width=2, levels=3, norm="instance", dropout=0.3)
    network = build_network(settings, channels=2, classes=3, seed=0).eval()
    assert network(torch.zeros(2, 2, 4, 8, 12)).shape == (2, 3, 4, 8, 12)
