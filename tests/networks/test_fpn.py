"""The light decoder against the sheet of modality-invariant learning, section 4."""

import pytest
import torch
from torch import nn

from medssl.networks.build import build_network
from medssl.networks.channel_groups import only
from medssl.networks.fpn import FpnDecoder, LinearDecoder, voxel_shuffle
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
    assert torch.equal(voxel_shuffle(values, (2, 2, 2)), pixelshuffle(values, 3, 2))
    assert voxel_shuffle(values, (1, 1, 1)) is values
    flat = values[..., :1]
    assert torch.equal(
        voxel_shuffle(flat, (2, 2, 1)).squeeze(-1), pixelshuffle(flat.squeeze(-1), 2, 2)
    )


def test_the_eight_values_of_a_cell_become_its_eight_voxels():
    cell = torch.arange(8.0).reshape(1, 8, 1, 1, 1)
    assert torch.equal(voxel_shuffle(cell, (2, 2, 2)), torch.arange(8.0).reshape(1, 1, 2, 2, 2))


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


@pytest.mark.parametrize(("use", "seen"), [("invariant", slice(0, 5)), ("specific", slice(5, 8))])
def test_the_decoder_sees_the_channels_that_are_to_be_used(use, seen):
    """Of 8 channels the first 5 are the invariant group; the coarsest level is whole."""
    levels = [torch.randn(1, 8, 4, 4, 4), torch.randn(1, 16, 2, 2, 2)]
    fine, coarse = only(levels, use)
    assert torch.equal(fine[:, seen], levels[0][:, seen])
    assert fine.abs().sum() == levels[0][:, seen].abs().sum()
    assert torch.equal(coarse, levels[1])
    assert torch.equal(only(levels, "both")[0], levels[0])


def test_what_is_used_changes_the_answer_and_no_weight():
    networks = {
        use: build_network(
            NetworkSettings(name="conv_fpn", width=8, levels=2, decoder_width=4, use=use), 1, 2, 0
        )
        for use in ("both", "invariant", "specific")
    }
    image = torch.randn(1, 1, 4, 4, 4)
    answers = [network(image) for network in networks.values()]
    assert all(not torch.equal(answers[0], other) for other in answers[1:])
    names = [set(network.state_dict()) for network in networks.values()]
    assert names[0] == names[1] == names[2]


def test_the_linear_decoder_is_one_linear_map_of_all_enlarged_levels_side_by_side():
    decoder = LinearDecoder(WIDTHS, 3).eval()
    enlarged = [
        nn.functional.interpolate(one, size=(32, 32, 32), mode="trilinear") for one in features()
    ]
    flat = torch.cat([kept.flatten(1) for kept in (level[1].weight for level in decoder.levels)], 1)
    bias = decoder.levels[0][1].bias
    expected = torch.einsum("kc,bcxyz->bkxyz", flat, torch.cat(enlarged, dim=1))
    expected = expected / (1 + 1e-5) ** 0.5 + bias[:, None, None, None]
    assert torch.allclose(decoder(features(), (32, 32, 32)), expected, atol=1e-4)


def test_a_faint_feature_counts_as_much_as_a_strong_one_for_the_linear_decoder():
    decoder, plain = LinearDecoder(WIDTHS[:3], 2), features()[:3]
    faint = [0.1 * one + 7 for one in plain]
    size = (32, 32, 32)
    assert torch.allclose(decoder(plain, size), decoder(faint, size), atol=5e-2)


def test_a_frozen_encoder_has_no_gradient_and_the_linear_decoder_all_of_it():
    settings = NetworkSettings(name="conv_fpn", width=2, levels=2, decoder="linear", frozen=True)
    network = build_network(settings, 1, 2, 0)
    network(torch.randn(2, 1, 8, 8, 8)).square().mean().backward()
    assert all(weight.grad is None for weight in network.encoder.parameters())
    assert all(bool(weight.grad.any()) for weight in network.decoder.parameters())


def test_every_network_with_an_encoder_takes_a_linear_decoder():
    settings = NetworkSettings(name="vnet", width=2, levels=2, decoder="linear", dropout=0)
    network = build_network(settings, 1, 3, 0)
    image = torch.randn(2, 1, 8, 8, 8)
    shares = network.decoder(network.encoder(image), image.shape[2:])
    assert shares.shape == (2, 3, 8, 8, 8)
    assert torch.equal(network(image), shares)
