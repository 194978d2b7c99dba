import pytest
import torch
from torch import nn

from medssl.networks.build import build_network
from medssl.networks.settings import NetworkSettings
from medssl.networks.vnet import VNet


def convolutions(block: nn.Module) -> list[nn.Conv3d]:
    return [layer for layer in block.modules() if isinstance(layer, nn.Conv3d)]


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.fixture(scope="module")
def published() -> VNet:
    return VNet(channels=1, classes=2)


def test_the_published_network_has_9448866_parameters(published):
    assert count(published) == 9_448_866


def test_levels_have_the_published_channels_and_convolutions(published):
    encoder = [convolutions(block) for block in published.encoder.blocks]
    decoder = [convolutions(block) for block in published.blocks]
    assert [block[-1].out_channels for block in encoder] == [16, 32, 64, 128, 256]
    assert [len(block) for block in encoder] == [1, 2, 3, 3, 3]
    assert [len(block) for block in reversed(decoder)] == [3, 3, 2, 1]
    assert {layer.kernel_size for block in encoder + decoder for layer in block} == {(3, 3, 3)}


def test_sampling_doubles_and_halves_channels_with_kernels_of_two(published):
    downs = [block[0] for block in published.encoder.downs]
    ups = [block[0] for block in published.ups]
    assert [(d.in_channels, d.out_channels) for d in downs] == [
        (16, 32),
        (32, 64),
        (64, 128),
        (128, 256),
    ]
    assert [(u.out_channels, u.in_channels) for u in ups] == [
        (d.in_channels, d.out_channels) for d in downs
    ]
    assert {layer.kernel_size for layer in downs + ups} == {(2, 2, 2)}
    assert {layer.stride for layer in downs + ups} == {(2, 2, 2)}


def test_every_convolution_but_the_head_is_normalised_and_rectified(published):
    kinds = [type(layer) for layer in published.modules()]
    weighted = kinds.count(nn.Conv3d) + kinds.count(nn.ConvTranspose3d) - 1
    assert kinds.count(nn.BatchNorm3d) == kinds.count(nn.ReLU) == weighted == 29


def test_skips_are_added():
    """With a dead way up, the decoder's finest block sees the encoder's features alone."""
    network = VNet(1, 2, width=2, levels=2, dropout=0).eval()
    up = network.ups[0][1]
    nn.init.zeros_(up.weight)
    nn.init.zeros_(up.bias)
    image = torch.randn(1, 1, 4, 4, 4)
    finest = network.encoder.blocks[0](image)
    torch.testing.assert_close(network(image), network.head(network.blocks[0](finest)))


def test_blocks_are_plain_without_residual():
    """Dead convolutions leave nothing of the input."""
    network = VNet(1, 2, width=2, levels=2, dropout=0).eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm3d):
            nn.init.zeros_(layer.weight)
    logits = network(torch.randn(1, 1, 4, 4, 4))
    assert logits.flatten(2).std(2).max() == 0


def test_dropout_drops_whole_channels_at_the_bottleneck_and_before_the_head():
    network = VNet(1, 2, width=4, levels=2, dropout=0.5).train()
    seen = {}
    for name in ("encoder.dropout", "dropout"):
        network.get_submodule(name).register_forward_hook(
            lambda _, given, kept, name=name: seen.update({name: (given[0], kept)})
        )
    torch.manual_seed(0)
    with torch.no_grad():
        network(torch.randn(4, 1, 4, 4, 4))
    assert {name: given.shape for name, (given, _) in seen.items()} == {
        "encoder.dropout": (4, 8, 2, 2, 2),
        "dropout": (4, 4, 4, 4, 4),
    }
    for given, kept in seen.values():
        scale = (kept.sum((2, 3, 4)) / given.sum((2, 3, 4))).round()
        assert set(scale.flatten().tolist()) == {0.0, 2.0}
        assert torch.equal(kept, given * scale[..., None, None, None])


def test_dropout_is_off_when_predicting():
    network = VNet(1, 2, width=2, levels=2, dropout=0.5).eval()
    image = torch.randn(1, 1, 4, 4, 4)
    torch.testing.assert_close(network(image), network(image), rtol=0, atol=0)


@pytest.mark.parametrize("levels", [2, 3, 5])
def test_logits_lie_on_the_grid_of_the_image(levels):
    settings = NetworkSettings(width=2, levels=levels)
    side = settings.side_multiple
    network = build_network(settings, channels=3, classes=4, seed=0).eval()
    assert side == 2 ** (levels - 1)
    assert network(torch.zeros(1, 3, side, 2 * side, side)).shape == (1, 4, side, 2 * side, side)


def test_the_published_network_needs_sides_divisible_by_16():
    assert NetworkSettings().side_multiple == 16


def test_the_seed_decides_the_weights_and_leaves_the_global_generator_alone():
    settings = NetworkSettings(width=2, levels=2)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    first, same, other = (build_network(settings, 1, 2, seed).state_dict() for seed in (5, 5, 6))
    assert torch.equal(torch.rand(4), expected)
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_the_norm_is_a_choice():
    def kinds(norm):
        network = build_network(NetworkSettings(width=2, levels=2, norm=norm), 1, 2, 0)
        return {type(m) for m in network.modules() if "Norm" in type(m).__name__}

    assert kinds("batch") == {nn.BatchNorm3d}
    assert kinds("instance") == {nn.InstanceNorm3d}
