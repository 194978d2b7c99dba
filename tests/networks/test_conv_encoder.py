"""The small convolutional encoder: what it is made of."""

import torch
from torch import nn

from medssl.networks.build import build_encoder, build_network
from medssl.networks.norm import group_norm
from medssl.networks.settings import NetworkSettings

SETTINGS = NetworkSettings(name="conv_fpn", width=16, levels=4, dropout=0)


def test_levels_double_their_channels_and_halve_their_sides():
    encoder = build_encoder(SETTINGS, 1, 0)
    assert encoder.widths == (16, 32, 64, 128)
    assert encoder.strides == (1, 2, 4, 8)
    assert SETTINGS.side_multiple == 8
    convolutions = [
        [m for m in block.modules() if isinstance(m, nn.Conv3d)] for block in encoder.blocks
    ]
    assert [len(block) for block in convolutions] == [1, 2, 2, 2]
    assert [block[0].stride[0] for block in convolutions] == [1, 2, 2, 2]


def test_every_convolution_has_a_group_norm_and_a_relu():
    kinds = [type(module) for module in build_encoder(SETTINGS, 1, 0).modules()]
    assert kinds.count(nn.Conv3d) == kinds.count(nn.GroupNorm) == kinds.count(nn.ReLU) == 7


def test_its_bottleneck_reaches_over_a_masked_cube_of_16():
    encoder = build_encoder(SETTINGS, 1, 0).eval()
    image = torch.randn(1, 1, 64, 64, 64, requires_grad=True)
    encoder(image)[-1][0, :, 4, 4, 4].square().sum().backward()
    seen = image.grad[0, 0].amax((1, 2)).nonzero().flatten()
    assert int(seen[-1] - seen[0]) > 2 * 16


def test_groups_are_eight_or_as_many_as_leave_two_channels_to_each():
    found = [group_norm(channels).num_groups for channels in (1, 2, 3, 4, 8, 12, 16, 24, 48, 100)]
    assert found == [1, 1, 1, 2, 4, 4, 8, 8, 8, 4]


def test_the_network_answers_on_the_grid_of_the_image():
    network = build_network(SETTINGS.model_copy(update={"width": 4}), 2, 3, 0)
    assert network(torch.zeros(1, 2, 8, 16, 8)).shape == (1, 3, 8, 16, 8)
