"""The light decoder against the sheet of modality-invariant learning, section 4."""

import pytest
import torch
from torch import nn

from medssl.networks.build import build_network
from medssl.networks.fpn import FpnDecoder, voxel_shuffle
from medssl.networks.settings import NetworkSettings

WIDTHS, STRIDES = (48, 96, 192, 384, 768), (2, 4, 8, 16, 32)


def features(side=32, items=1):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(items, width, *[side // stride] * 3, generator=generator)
        for width, stride in zip(WIDTHS, STRIDES, strict=True)
    ]


def test_at_paper_size_it_has_0_16_million_parameters():
    decoder = FpnDecoder(WIDTHS, STRIDES, outputs=1)
    laterals, smooths = sum(WIDTHS) * 32, 4 * (32 * 32 * 27 + 2 * 32)
    assert sum(p.numel() for p in decoder.parameters()) == laterals + smooths + 32 * 8 + 8
    assert laterals + smooths + 264 == 158_728


@pytest.mark.parametrize("outputs", [1, 3])
def test_outputs_lie_on_the_grid_of_the_image(outputs):
    decoder = FpnDecoder(WIDTHS, STRIDES, outputs)
    assert decoder(features()).shape == (1, outputs, 32, 32, 32)
    assert decoder.head.out_channels == outputs * 2**3


def test_voxel_shuffle_is_that_of_monai():
    from monai.networks.utils import pixelshuffle

    values = torch.arange(2 * 3 * 8 * 2 * 3 * 4.0).reshape(2, 24, 2, 3, 4)
    assert torch.equal(voxel_shuffle(values, 2), pixelshuffle(values, 3, 2))
    assert voxel_shuffle(values, 1) is values


def test_the_eight_values_of_a_cell_become_its_eight_voxels():
    cell = torch.arange(8.0).reshape(1, 8, 1, 1, 1)
    assert torch.equal(voxel_shuffle(cell, 2), torch.arange(8.0).reshape(1, 1, 2, 2, 2))


def test_every_level_has_its_part_in_the_output():
    decoder = FpnDecoder(WIDTHS, STRIDES, 1).eval()
    given = [one.requires_grad_() for one in features()]
    decoder(given).square().sum().backward()
    assert all(bool(one.grad.any()) for one in given)


def test_each_sum_is_smoothed_by_a_convolution_a_group_norm_and_a_gelu():
    decoder = FpnDecoder(WIDTHS, STRIDES, 1)
    assert len(decoder.smooths) == 4
    for smooth in decoder.smooths:
        conv, norm, act = smooth
        assert (conv.kernel_size, conv.bias) == ((3, 3, 3), None)
        assert (norm.num_groups, type(act)) == (8, nn.GELU)


def test_dropout_and_width_of_the_decoder_are_settings():
    settings = NetworkSettings(name="conv_fpn", width=4, levels=2, dropout=0.5, decoder_width=6)
    network = build_network(settings, 1, 2, 0).train()
    assert network.decoder.head.in_channels == 6
    image = torch.ones(1, 1, 4, 4, 4)
    torch.manual_seed(0)
    assert not torch.equal(network(image), network(image))
    network.eval()
    assert torch.equal(network(image), network(image))
